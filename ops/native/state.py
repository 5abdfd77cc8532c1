"""The state file of a running platform, and the lock that says who runs it."""

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Any

State = dict[str, Any]


def write_state(path: Path, state: State) -> None:
    """Replace the state file at once, so that a reader never sees half of it."""
    written = path.with_name(f"{path.name}.new")
    written.write_text(json.dumps(state, indent=1))
    written.replace(path)


def read_state(path: Path) -> State:
    """Return the last state written; empty when there is none or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        state = json.loads(path.read_text())
        if isinstance(state, dict):
            return state
    return {}


def take_lock(path: Path) -> int | None:
    """Take the lock of the run folder; return its descriptor, or None when another has it.

    The kernel frees it when its last holder is gone, so it never goes stale.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def name_holder(descriptor: int, pid: int) -> None:
    """Write into the lock file who holds it."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(pid).encode(), 0)


def holder(path: Path) -> int | None:
    """Return the process named in the lock file, which may be gone."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None
