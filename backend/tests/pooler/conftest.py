"""These tests need the pooler that `make test-pgbouncer` chooses, and are left out elsewhere."""

from poolers import chosen_pooler

collect_ignore_glob = [] if chosen_pooler() else ["test_*.py"]
