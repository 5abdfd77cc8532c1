"""One typed function per procedure of bars and quotes; side effect: Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from app.core.errors_trading import RowsRefused
from app.models.dto import moment_text, number_text
from app.models.series import StoredBar
from app.services.bulk_rows import Rows
from app.services.sp_call import refusals, rows, value
from app.services.sp_rows import Caller

# The most that a body of 8 MiB may take; app_write has 5 s otherwise.
BULK_S = 60

BARS_LOAD = """
SELECT inserted, replaced, unchanged, unknown_symbols, bad_row, fault
FROM app.sp_bars_load(
    $1, $2, $3, $4, $5, $6, $7::text[]::timestamptz[], $8::text[]::numeric[],
    $9::text[]::numeric[], $10::text[]::numeric[], $11::text[]::numeric[], $12::text[]::numeric[]
)"""
QUOTES_LOAD = """
SELECT marks, inserted, 0 AS replaced, unchanged, unknown_symbols, bad_row, fault
FROM app.sp_quotes_load(
    $1, $2, $3, $4, $5, $6::text[]::numeric[], $7::text[]::timestamptz[], $8
)"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the rows of a request."""

    inserted: int
    replaced: int
    unchanged: int
    unknown_symbols: list[str]
    marks: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """Rows of a source and who sends them; no caller is our own worker."""

    caller: Caller | None
    request_id: str
    source: str
    rows: Rows


async def load_bars(connection: asyncpg.Connection, load: Load) -> Loaded:
    """Write bars, all or none."""
    names = ("symbol", "resolution", "bar_at", "open", "high", "low", "close", "volume")
    return await _load(connection, BARS_LOAD, load, names)


async def load_quotes(connection: asyncpg.Connection, load: Load) -> Loaded:
    """Move the marks and keep samples of quotes, all or none."""
    names = ("symbol", "price", "at", "reset")
    return await _load(connection, QUOTES_LOAD, load, names)


async def _load(
    connection: asyncpg.Connection, query: str, load: Load, names: Sequence[str]
) -> Loaded:
    caller, lists = load.caller, [load.rows.columns[name] for name in names]
    who = (caller.user_id, caller.session_handle) if caller else (None, None)
    async with refusals():
        await connection.execute(f"SET LOCAL statement_timeout = '{BULK_S}s'")
        found = await connection.fetchrow(
            query, *who, load.request_id, load.source, *lists, timeout=BULK_S
        )
    facts = dict(found or {})
    row, fault = facts.pop("bad_row"), facts.pop("fault")
    if row is not None:
        raise RowsRefused(errors=[{"loc": ["body", *load.rows.place, row], "type": fault}])
    return Loaded(**facts)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which bars, from a moment on and before another, and how many at most."""

    symbol: str
    resolution: str
    first: datetime
    until: datetime
    limit: int


async def read_bars(
    connection: asyncpg.Connection, caller: Caller, wanted: Wanted
) -> list[StoredBar]:
    """Read bars, oldest first."""
    found = await rows(
        connection,
        "SELECT bar_at, open, high, low, close, volume, source, original_date"
        " FROM app.sp_bars_read($1, $2, $3, $4, $5, $6, $7)",
        caller.user_id,
        caller.session_handle,
        wanted.symbol,
        wanted.resolution,
        wanted.first,
        wanted.until,
        wanted.limit,
    )
    return [_stored(dict(row)) for row in found]


def _stored(row: dict[str, Any]) -> StoredBar:
    moved = row["original_date"]
    return StoredBar(
        bar_at=moment_text(row["bar_at"]),
        source=row["source"],
        original_date=None if moved is None else moved.isoformat(),
        **{name: number_text(row[name]) for name in ("open", "high", "low", "close", "volume")},
    )


async def bars_report(
    connection: asyncpg.Connection,
    symbol: str,
    resolution: str,
    sessions: Sequence[tuple[datetime, datetime]],
) -> dict[str, Any]:
    """Compare the bars of an instrument with what its sessions should have."""
    return dict(
        await value(
            connection,
            "SELECT app.sp_bars_report($1, $2, $3, $4)",
            symbol,
            resolution,
            [start for start, _ in sessions],
            [end for _, end in sessions],
        )
    )
