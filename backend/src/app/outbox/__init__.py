"""The owed events: their tables and how the worker takes them."""
