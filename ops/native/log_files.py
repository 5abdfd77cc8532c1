"""Reads, rotates and follows the log files of the services."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

TAIL_BYTES_MAX = 20_000
POLL_INTERVAL_S = 0.2


def rotate(path: Path, bytes_max: int) -> bool:
    """Move a log that grew too large to `.1`; its writer goes on, since it only appends."""
    if not path.exists() or path.stat().st_size <= bytes_max:
        return False
    older = path.with_name(f"{path.name}.1")
    shutil.copyfile(path, older)
    older.chmod(0o600)
    os.truncate(path, 0)
    return True


def tail(path: Path, lines_max: int, *, start: int = 0) -> list[str]:
    """Return the last lines of a log, none written before the offset `start`."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = start if start <= size else 0
            file.seek(max(start, size - TAIL_BYTES_MAX))
            return file.read().decode(errors="replace").splitlines()[-lines_max:]
    except FileNotFoundError:
        return []


class Follower:
    """Yields what is appended to one log, also after it was rotated."""

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self._path = path
        self._offset = offset
        self._rest = ""

    def lines(self) -> list[str]:
        """Return the whole lines that are new since the last call."""
        try:
            size = self._path.stat().st_size
            if size == self._offset:
                return []
            with self._path.open("rb") as file:
                file.seek(self._offset if self._offset < size else 0)
                text = self._rest + file.read().decode(errors="replace")
                self._offset = file.tell()
        except FileNotFoundError:
            return []
        *whole, self._rest = text.split("\n")
        return whole


def follow(
    folder: Path, names: Sequence[str], lines: int, out: TextIO, until: Callable[[], bool]
) -> None:
    """Print the end of each log, then what is added to any of them."""
    followers: dict[Path, Follower] = {}
    while True:
        for path in sorted(folder.glob("*.log")):
            if names and path.stem not in names:
                continue
            new = tail(path, lines) if path not in followers else followers[path].lines()
            if path not in followers:
                followers[path] = Follower(path, offset=path.stat().st_size)
            for line in new:
                print(f"{path.stem:<11} | {line}", file=out, flush=True)
        if until():
            return
        time.sleep(POLL_INTERVAL_S)
