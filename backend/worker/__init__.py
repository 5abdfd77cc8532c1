"""The trading worker: consumes the outbox, talks to brokers, reconciles."""
