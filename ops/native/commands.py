"""The handles beside `up`: down, status, logs and clean."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from native.installation import Installation
from native.interrupted import Interrupted
from native.log_files import follow
from native.processes import is_marked, kill_all, marked, send
from native.state import holder, take_lock
from native.summary import current_state, table

POLL_INTERVAL_S = 0.1
# Postgres may take a minute to stop; beyond this something is badly wrong.
DOWN_TIMEOUT_S = 120
REBUILDABLE = (
    ".cache",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".import_linter_cache",
    ".hypothesis",
    "backend/build",
    "backend/zig-lmdb/target",
    "backend/zig-lmdb/.zig-cache",
    ".venv",
)


def down(it: Installation) -> int:
    """Stop everything; return 0 when nothing is left."""
    if not it.run_dir.is_dir():
        print("nothing is running")
        return 0
    was_running = not _wait_for_lock(it)
    left = kill_all(lambda: marked(it.run_dir))
    print("stopped; the data is kept" if was_running or left else "nothing is running")
    return 0


def _wait_for_lock(it: Installation) -> bool:
    """Ask whoever is in charge to stop; return whether nobody was."""
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    asked: set[int] = set()
    while (lock := take_lock(it.lock_file)) is None:
        pid = holder(it.lock_file)
        if pid and pid not in asked and is_marked(pid, it.run_dir):
            print("stopping ...", flush=True)
            send(pid, signal.SIGTERM)
            asked.add(pid)
        if time.monotonic() > deadline:
            print(f"it did not stop in {DOWN_TIMEOUT_S} s: killing it", file=sys.stderr)
            kill_all(lambda: marked(it.run_dir))
        time.sleep(POLL_INTERVAL_S)
    os.close(lock)
    return not asked


def status(it: Installation, *, as_json: bool) -> int:
    """Print how each service fares."""
    state = current_state(it)
    if as_json:
        print(json.dumps(state, indent=1))
        return 0
    if state["services"]:
        print(table(state), end="\n\n")
    last = f" (last start: {state['failure']})" if state.get("failure") else ""
    where = f": {state['url']}" if state["phase"] == "running" else ""
    print(f"Informania is {state['phase']}{where}{last}")
    return 0


def logs(it: Installation, names: Sequence[str], *, lines: int, following: bool) -> int:
    """Print the logs, and follow them until Ctrl-C."""
    known = {path.stem for path in it.logs.glob("*.log")}
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(sorted(known)) or "none yet: run `make up`"
        print(f"informania: no log of {', '.join(unknown)}; there are {there}", file=sys.stderr)
        return 1
    with Interrupted() as interrupted:
        follow(it.logs, names, lines, sys.stdout, lambda: interrupted() or not following)
    return 0


def clean(it: Installation, *, yes: bool) -> int:
    """Remove what can be rebuilt, and the data when somebody says so."""
    down(it)
    caches = [path for name in ("backend", "auth", "ops", "tests") for path in _caches(it, name)]
    for path in (*caches, *(it.root / name for name in REBUILDABLE), it.logs):
        shutil.rmtree(path, ignore_errors=True)
    print("removed what can be rebuilt")
    if not it.run_dir.exists():
        return 0
    question = f"Remove the data in {it.run_dir} too: database, secrets, orders? [y/N] "
    if yes or it.environ.get("YES") or _answered_yes(question):
        shutil.rmtree(it.run_dir)
        print("removed the data")
    else:
        print(f"kept the data in {it.run_dir}; YES=1 removes it without asking")
    return 0


def _caches(it: Installation, name: str) -> list[Path]:
    folder = it.root / name
    return [*folder.rglob("__pycache__"), *folder.rglob("*.egg-info")]


def _answered_yes(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input(question).strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        return False
