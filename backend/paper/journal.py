"""The append-only journal: one checksummed line a record, on disk before anyone is answered."""

import json
import os
import zlib
from pathlib import Path
from typing import Any

Record = dict[str, Any]
CHECKSUM_SIZE = 8


class JournalDamaged(Exception):
    """A record before the last one does not match its checksum."""


def encode(record: Record) -> bytes:
    """Write one record as `crc32 json newline`."""
    body = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> Record | None:
    """Read one line; None when it is not whole."""
    checksum, body = line[:CHECKSUM_SIZE], line[CHECKSUM_SIZE + 1 : -1]
    if not line.endswith(b"\n") or b"%08x" % zlib.crc32(body) != checksum:
        return None
    record: Record = json.loads(body)
    return record


def read(path: Path) -> tuple[list[Record], int]:
    """Read all whole records and the size they take; a torn last line is not among them."""
    if not path.exists():
        return [], 0
    lines = path.read_bytes().splitlines(keepends=True)
    records: list[Record] = []
    size = 0
    for position, line in enumerate(lines):
        record = decode(line)
        if record is None and position < len(lines) - 1:
            raise JournalDamaged(
                f"{path}: line {position + 1} is damaged; restore the file from a copy, or remove "
                "the folder to start with a new venue"
            )
        if record is not None:
            records.append(record)
            size += len(line)
    return records, size


def write(descriptor: int, lines: bytes) -> None:
    """Append lines to a file and return when they are on disk."""
    if os.write(descriptor, lines) != len(lines):
        raise OSError("the disk took only a part of what was written; is it full?")
    os.fsync(descriptor)


class Journal:
    """Takes records; `sync` returns when all of them would survive a power cut.

    What was not synced does not exist for the next start, so nobody may be told of it.
    """

    def __init__(self, path: Path) -> None:
        self.records, size = read(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._descriptor, size)
        self._waiting: list[bytes] = []

    def append(self, record: Record) -> None:
        """Take one record on; the next `sync` writes it."""
        self._waiting.append(encode(record))

    @property
    def is_synced(self) -> bool:
        return not self._waiting

    def sync(self) -> None:
        """Put all that was appended on disk, at the price of one write."""
        if self._waiting:
            write(self._descriptor, b"".join(self._waiting))
            self._waiting.clear()

    def close(self) -> None:
        self.sync()
        os.close(self._descriptor)
