"""The append-only audit log: its table and how it is read."""
