"""Telling the database's absence from everything else that can go wrong."""

from __future__ import annotations

import asyncpg

from app.core.errors import DatabaseContention, Unavailable
from app.core.logging import get_logger

log = get_logger(__name__)

# Connection, resources, shutdown, system; 25 is a server that has become read-only.
ABSENT_CLASSES = frozenset({"08", "25", "53", "58"})
ABSENT_STATES = frozenset({"57P01", "57P02", "57P03", "57P05"})


def is_database_absent(error: BaseException) -> bool:
    """Say whether trying again, with nothing changed but the time, may well succeed."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        return sqlstate[:2] in ABSENT_CLASSES or sqlstate in ABSENT_STATES
    if isinstance(error, DatabaseContention):
        return False
    return isinstance(error, OSError | asyncpg.InterfaceError | Unavailable)


def log_failure(event: str, error: BaseException, **fields: object) -> None:
    """Log a failure; with a traceback only where its cause is not the database's absence."""
    absent = is_database_absent(error)
    log.warning(
        event,
        error=type(error).__name__,
        cause=str(error)[:200],
        sqlstate=getattr(error, "sqlstate", None),
        exc_info=None if absent else error,
        **fields,
    )
