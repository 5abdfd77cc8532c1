"""What goes into the hot store and what comes out of it: plain values, without the library."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Flag, IntEnum
from typing import Self

MIB = 1024 * 1024
KEY_BYTES_MAX = 511
VALUE_BYTES_MAX = MIB
BATCH_OPERATIONS_MAX = 4096
VERSION_ANY = 2**64 - 1
TTL_S_MAX = 10 * 365 * 86_400


class Durability(Flag):
    """What a commit waits for; the default survives a power cut."""

    FULL = 0
    NO_SYNC = 1
    NO_META_SYNC = 2


class Kind(IntEnum):
    """What an operation does; EXPIRE removes a row only when its time is over."""

    PUT = 1
    DELETE = 2
    EXPIRE = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A row as it is now."""

    value: bytes
    version: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One write. `if_version`: None = whatever is there, 0 = only when nothing is there."""

    kind: Kind
    table: str
    key: bytes
    value: bytes = b""
    if_version: int | None = None
    expires_ms: int = 0

    @classmethod
    def put(
        cls,
        table: str,
        key: str | bytes,
        value: bytes,
        *,
        if_version: int | None = None,
        ttl_s: float | None = None,
    ) -> Self:
        """Write a row, for `ttl_s` seconds or for good."""
        expires_ms = 0 if ttl_s is None else _expires_ms(ttl_s)
        return cls(Kind.PUT, table, key_bytes(key), value, _version(if_version), expires_ms)

    @classmethod
    def delete(cls, table: str, key: str | bytes, *, if_version: int | None = None) -> Self:
        """Remove a row."""
        return cls(Kind.DELETE, table, key_bytes(key), b"", _version(if_version))

    @property
    def size(self) -> int:
        """Bytes that the operation carries."""
        return len(self.key) + len(self.value)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a scan."""

    key: bytes
    value: bytes
    version: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a scan. Give `position` back to go on; None = that was all."""

    rows: list[Row]
    expired: list[bytes]
    damaged: list[bytes]
    position: bytes | None


@dataclass(frozen=True, slots=True)
class Stats:
    """Sizes and limits; the first three are the table's, the others the whole file's."""

    entries: int
    depth: int
    pages: int
    page_size: int
    map_size: int
    map_size_max: int
    map_used: int
    grows: int
    txn_id: int
    readers: int
    readers_max: int
    rows_damaged: int


def key_bytes(key: str | bytes) -> bytes:
    """Return the key as LMDB holds it: text in UTF-8."""
    return key.encode() if isinstance(key, str) else key


def _version(version: int | None) -> int | None:
    if version is not None and not 0 <= version < VERSION_ANY:
        raise ValueError("if_version is 0 (absent) or a version that a write returned")
    return version


def _expires_ms(ttl_s: float) -> int:
    if not 0 < ttl_s <= TTL_S_MAX:
        raise ValueError(f"ttl_s is more than 0 and at most {TTL_S_MAX}")
    return int((time.time() + ttl_s) * 1000)


def moment_of(expires_ms: int) -> datetime | None:
    return datetime.fromtimestamp(expires_ms / 1000, UTC) if expires_ms else None
