"""These tests need the server that `make test-timescale` chooses, and are left out elsewhere."""

import os

from postgres_servers import PRELOAD_SETTING

PRELOADED = "timescaledb" in os.environ.get(PRELOAD_SETTING, "")
collect_ignore_glob = [] if PRELOADED else ["test_*.py"]
