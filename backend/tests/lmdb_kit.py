"""What the tests of the hot store share: where the library is, and a store of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from app.services.lmdb_rows import Durability
from app.services.lmdb_store import LmdbStore

BACKEND = Path(__file__).parents[1]
ZIG_LMDB = BACKEND / "zig-lmdb"
LIBRARY = ZIG_LMDB / "target" / "libzig_lmdb.so"
SCRIPTS = Path(__file__).parent / "lmdb_scripts"
MAP_SIZE = 1 << 20


def open_store(path: Path, **options: Any) -> LmdbStore:
    """Open a small store that does not wait for the disk, unless told otherwise."""
    chosen: dict[str, Any] = {
        "tables": ["quotes", "strategy"],
        "map_size": MAP_SIZE,
        "map_size_max": 1 << 30,
        "durability": Durability.NO_SYNC,
    } | options
    return LmdbStore(path, LIBRARY, **chosen)


def run_script(name: str, *arguments: str | Path, timeout_s: float = 120) -> Any:
    """Run one of lmdb_scripts in a process of its own; a signal there is a failure here."""
    done = subprocess.run(
        [sys.executable, SCRIPTS / f"{name}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])
