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


class Journal:
    """Appends records; `sync` returns when all of them would survive a power cut."""

    def __init__(self, path: Path) -> None:
        self.records, size = read(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._descriptor, size)
        self._written = False

    def append(self, record: Record) -> None:
        """Hand one record to the system: it outlives this process from here on."""
        line = encode(record)
        if os.write(self._descriptor, line) != len(line):
            raise OSError("the journal took only a part of a record; is the disk full?")
        self._written = True

    def sync(self) -> None:
        """Put what was appended on disk."""
        if self._written:
            os.fsync(self._descriptor)
            self._written = False

    def close(self) -> None:
        self.sync()
        os.close(self._descriptor)
