"""What the hot store answers when it cannot do what it is asked; the codes are include/lmdb.h's.

LmdbError
├── Conflict          412  the row is in another version
├── KeyInvalid        422, ValueTooLarge 413, BatchInvalid 422, TableUnknown 404
├── QueueFull         503  with Retry-After; MapFull, StoreClosed likewise
├── Aborted           409  another operation of an atomic group failed
└── Corrupt           500  damage was found; Forked, LibraryUnusable
"""

from typing import Final

from app.core.errors import (
    AppError,
    BodyTooLarge,
    HotStoreBusy,
    HotStoreUnavailable,
    PreconditionFailed,
    TableNotFound,
    Unprocessable,
)
from app.core.errors import Conflict as StateConflict


class LmdbError(AppError):
    """The hot store failed."""

    code = "hot_store_failed"
    remedy = "See the log of the process that serves the hot store."
    # The current version of a conflict.
    version: int = 0


class Conflict(PreconditionFailed, LmdbError):
    """The value is not in the version you expect."""


class KeyInvalid(Unprocessable, LmdbError):
    """The key is not valid."""

    code = "key_invalid"
    remedy = "A key has 1 to 511 bytes."


class ValueTooLarge(BodyTooLarge, LmdbError):
    """The value is too large."""

    code = "value_too_large"
    remedy = "A value has at most 1 MiB."


class BatchInvalid(Unprocessable, LmdbError):
    """The group of writes is empty or too large."""

    code = "batch_invalid"
    remedy = "A group has 1 to 4096 operations."


class TableUnknown(TableNotFound, LmdbError):
    """There is no such table in the hot store."""


class Aborted(StateConflict, LmdbError):
    """Another write of the group failed, so nothing was written."""

    code = "batch_aborted"


class QueueFull(HotStoreBusy, LmdbError):
    """The hot store takes no more writes for the moment."""


class MapFull(HotStoreBusy, LmdbError):
    """The hot store is full."""

    code = "hot_store_full"


class StoreClosed(HotStoreUnavailable, LmdbError):
    """The hot store is not open in this process."""


class Corrupt(LmdbError):
    """The hot store is damaged."""

    code = "hot_store_damaged"


class Forked(LmdbError):
    """The hot store was opened before a fork."""


class LibraryUnusable(LmdbError):
    """The library of the hot store is missing or does not fit."""

    code = "hot_store_library"


_CLASSES: Final[dict[int, type[LmdbError]]] = {
    -2: Conflict,
    -3: KeyInvalid,
    -4: ValueTooLarge,
    -5: Corrupt,
    -7: MapFull,
    -8: Forked,
    -9: StoreClosed,
    -11: Aborted,
    -14: MapFull,
}


def error_of(code: int, detail: str, *, version: int = 0) -> LmdbError:
    """Return the error of a code; `version` is the current one when it is a conflict."""
    error = _CLASSES.get(code, LmdbError)(detail)
    error.version = version
    return error
