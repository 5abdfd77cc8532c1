"""Side effects: Postgres, the hot store, the brokers."""
