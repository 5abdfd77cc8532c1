"""The object store of an organization: all objects in one log, written by `commit`.

A save costs no disk access of its own: at a hundred orders a second, two fsyncs a save were what
the venue spent its time on. `commit` comes before anything leaves that a save must precede: an
order before it enters the journal, a webhook before it is posted.
"""

import os
from pathlib import Path
from threading import Lock

from paper.journal import Record, encode, read, write

NAME_MAX = 200
# The log is written anew when it is this large, and several times what its objects need.
LOG_SIZE_MIN, LOG_SIZE_FACTOR = 8 * 1024 * 1024, 4


class ObjectStore:
    """Named texts, under LEAN's method names."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / "objects.log"
        self._lock = Lock()
        self._texts: dict[str, str] = {}
        self._changed: dict[str, str | None] = {}
        for record in read(self._path)[0]:
            self._apply(record["name"], record["text"])
        self._descriptor = -1
        self._rewrite()

    @property
    def keys(self) -> list[str]:
        return sorted(self._texts)

    def contains_key(self, path: str) -> bool:
        return path in self._texts

    def read(self, path: str) -> str:
        return self._texts[path]

    def save(self, path: str, text: str) -> bool:
        """Replace the object as a whole; it is on disk after the next commit."""
        if not 0 < len(path) <= NAME_MAX:
            raise ValueError("an object's name must have 1 to 200 characters")
        self._change(path, text)
        return True

    def delete(self, path: str) -> bool:
        self._change(path, None)
        return True

    def commit(self) -> None:
        """Put all changes on disk, in the order of the objects' last ones."""
        with self._lock:
            if not self._changed:
                return
            lines = b"".join(_line(name, text) for name, text in self._changed.items())
            write(self._descriptor, lines)
            self._changed.clear()
            self._size += len(lines)
            if self._size > max(LOG_SIZE_MIN, LOG_SIZE_FACTOR * self._size_alive):
                self._rewrite()

    def close(self) -> None:
        self.commit()
        os.close(self._descriptor)

    def _change(self, name: str, text: str | None) -> None:
        with self._lock:
            self._apply(name, text)
            self._changed.pop(name, None)
            self._changed[name] = text

    def _apply(self, name: str, text: str | None) -> None:
        self._texts.pop(name, None)
        if text is not None:
            self._texts[name] = text

    def _rewrite(self) -> None:
        """Write a log of what is alive beside the old one, and put it in its place."""
        lines = b"".join(_line(name, text) for name, text in self._texts.items())
        fresh = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        write(descriptor, lines)
        fresh.replace(self._path)
        _sync_folder(self._path.parent)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._size, self._size_alive = descriptor, len(lines), len(lines)


def _line(name: str, text: str | None) -> bytes:
    record: Record = {"name": name, "text": text}
    return encode(record)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
