"""The worker's procedures over shards, sends and the inbox, one typed function each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg

Row = TypeVar("Row")

TEXT_MAX = 200
RETRY_AFTER_MAX_S = 3600.0


@dataclass(frozen=True, slots=True)
class OwnedShard:
    """A shard this owner may send for, under the epoch that fences it."""

    shard: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """How one begun send ended; applied only while its shard's epoch and lease still hold.

    `attempts` is that of the send: a row may have been begun anew before this is recorded.
    """

    event_id: int
    epoch: int
    attempts: int
    outcome: str
    reason: str | None = None
    broker_order_id: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class OutboxAge:
    """How much is owed to the brokers, and for how long."""

    pending: int
    oldest_s: float
    parked: int
    dead: int
    lost: int


@dataclass(frozen=True, slots=True)
class Bridge:
    """The far end of a route; `silent_s` is measured by the database's clock alone."""

    source: str
    deploy_id: str
    epoch: int
    sequence: int
    silent_s: float


async def acquire_shards(
    connection: asyncpg.Connection, owner: str, *, shards_max: int, lease_s: float
) -> list[OwnedShard]:
    """Take free shards; their advisory locks live as long as this connection's session."""
    rows = await connection.fetch(
        "SELECT shard, epoch FROM app.sp_acquire_shards($1, $2, $3)",
        owner,
        shards_max,
        timedelta(seconds=lease_s),
    )
    return [OwnedShard(**row) for row in rows]


async def renew_shards(
    connection: asyncpg.Connection, owner: str, *, lease_s: float
) -> list[OwnedShard]:
    """Renew what is still ours and say what that is; whatever is missing has been lost."""
    rows = await connection.fetch(
        "SELECT shard, epoch FROM app.sp_renew_shards($1, $2)", owner, timedelta(seconds=lease_s)
    )
    return [OwnedShard(**row) for row in rows]


async def release_shards(connection: asyncpg.Connection, owner: str) -> None:
    """Give every shard back, so that another worker may take it at once."""
    await connection.execute("SELECT app.sp_release_shards($1)", owner)


async def begin_sends(
    connection: asyncpg.Connection,
    owner: str,
    *,
    limit: int,
    valid_s: float,
    ttl_s: float,
    make: Callable[..., Row],
) -> list[Row]:
    """Commit to at most one send per account; `make` is the caller's record of a send."""
    rows = await connection.fetch(
        "SELECT * FROM app.sp_begin_sends($1, $2, $3, $4)",
        owner,
        limit,
        timedelta(seconds=valid_s),
        timedelta(seconds=ttl_s),
    )
    return [make(**row) for row in rows]


async def finish_sends(
    connection: asyncpg.Connection, owner: str, results: Sequence[SendResult]
) -> int:
    """Record how sends ended; fewer applied than given means that some were not ours any more."""
    applied = await connection.fetchval(
        "SELECT app.sp_finish_sends($1, $2::text::jsonb)",
        owner,
        json.dumps([as_wire(result) for result in results]),
    )
    return int(applied)


def as_wire(result: SendResult) -> dict[str, object]:
    """Write a result as the procedure reads it, without what is not known.

    Venues word their answers as they like; one that the database cannot hold must not cost the
    results beside it.
    """
    fields = {
        "event_id": result.event_id,
        "epoch": result.epoch,
        "attempts": result.attempts,
        "outcome": result.outcome,
        "reason": _plain(result.reason),
        "broker_order_id": _plain(result.broker_order_id),
        "retry_after_s": _wait_s(result.retry_after_s),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _plain(text: str | None) -> str | None:
    if not text:
        return None
    printable = "".join(letter if letter.isprintable() else " " for letter in text[:TEXT_MAX])
    return printable.strip() or None


def _wait_s(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds):
        return None
    return round(min(max(seconds, 0.0), RETRY_AFTER_MAX_S), 3)


async def inbox_report(
    connection: asyncpg.Connection,
    *,
    source: str,
    deploy_id: str,
    events: Sequence[dict[str, Any]],
    heartbeat: dict[str, Any] | None,
) -> None:
    """Keep what was heard over a connection of the worker's own, once an event."""
    await connection.execute(
        "SELECT app.sp_inbox_report($1, $2, $3::text::jsonb, $4::text::jsonb)",
        source,
        deploy_id,
        json.dumps(list(events)),
        json.dumps(heartbeat),
    )


async def quotes_wanted(connection: asyncpg.Connection, route: str, *, limit: int) -> list[str]:
    """Name the instruments whose prices matter to a route, what is held first."""
    rows = await connection.fetch("SELECT app.sp_quotes_wanted($1, $2) AS symbol", route, limit)
    return [row["symbol"] for row in rows]


async def quotes_heard(
    connection: asyncpg.Connection, source: str, quotes: Sequence[dict[str, Any]]
) -> int:
    """Move the marks by a source of the worker's own; returns how many it moved."""
    marks = await connection.fetchval(
        "SELECT app.sp_quotes_heard($1, $2::text::jsonb)", source, json.dumps(list(quotes))
    )
    return int(marks)


async def put_calendar(
    connection: asyncpg.Connection, actor: str, arguments: Sequence[object]
) -> int:
    """Make the calendar of an exchange what is told; returns how many days changed."""
    changed = await connection.fetchval(
        "SELECT app.sp_calendar_put($1, $2, $3, $4, $5, $6, $7, $8)", actor, *arguments
    )
    return int(changed)


async def inbox_pending(
    connection: asyncpg.Connection, owner: str, *, limit: int
) -> dict[int, str]:
    """Name the events of owned shards that wait to be applied, in their order, and who told them.

    One account has one source, and so one order.
    """
    query = "SELECT inbox_id, source FROM app.sp_inbox_pending($1, $2)"
    return {row["inbox_id"]: row["source"] for row in await connection.fetch(query, owner, limit)}


async def apply_broker_events(
    connection: asyncpg.Connection, inbox_ids: Sequence[int], *, ttl_s: float
) -> dict[int, str]:
    """Apply events to their orders, one after the other; say what came of each.

    Those of accounts that somebody else is writing to are left out.
    """
    applied = await connection.fetch(
        "SELECT inbox_id, outcome FROM app.sp_apply_broker_events($1, $2)",
        inbox_ids,
        timedelta(seconds=ttl_s),
    )
    return {row["inbox_id"]: row["outcome"] for row in applied}


async def query_inflight(connection: asyncpg.Connection, owner: str, *, after_s: float) -> int:
    """Owe a query for each order that has been in flight too long; says how many."""
    count = await connection.fetchval(
        "SELECT app.sp_query_inflight($1, $2)", owner, timedelta(seconds=after_s)
    )
    return int(count)


async def query_open(connection: asyncpg.Connection, owner: str, *, after_s: float) -> int:
    """Owe a query for each working order of which nothing was heard for so long."""
    count = await connection.fetchval(
        "SELECT app.sp_query_open($1, $2)", owner, timedelta(seconds=after_s)
    )
    return int(count)


async def reconcile(connection: asyncpg.Connection) -> list[dict[str, Any]]:
    """Hold positions and cash against the brokers' reports; the breaks that came or went."""
    rows = await connection.fetch("SELECT one::text FROM app.sp_reconcile() AS one")
    return [json.loads(row["one"]) for row in rows]


async def executions_listed(
    connection: asyncpg.Connection, source: str, fills: Sequence[dict[str, Any]]
) -> int:
    """Hold a broker's list of executions against ours; says how many were missing."""
    missing = await connection.fetchval(
        "SELECT app.sp_executions_listed($1, $2::text::jsonb)", source, json.dumps(list(fills))
    )
    return int(missing)


async def outbox_age(connection: asyncpg.Connection) -> OutboxAge:
    """Measure what is owed."""
    row = await connection.fetchrow(
        "SELECT pending, oldest_s, parked, dead, lost FROM app.sp_outbox_age()"
    )
    return OutboxAge(**row)


async def bridges(connection: asyncpg.Connection) -> list[Bridge]:
    """List the far ends that have ever been heard."""
    rows = await connection.fetch(
        "SELECT source, deploy_id, epoch, sequence,"
        " extract(epoch FROM clock_timestamp() - heartbeat_at)::double precision AS silent_s"
        " FROM app.sp_bridges()"
    )
    return [Bridge(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Keep:
    """How long what grows is kept; None: for ever."""

    quotes: timedelta
    events: timedelta
    sessions: timedelta
    equity: timedelta | None = None
    bars: timedelta | None = None


async def housekeep(connection: asyncpg.Connection, keep: Keep) -> int:
    """Make the coming partitions and drop what is older than asked; says how many were dropped."""
    dropped = await connection.fetchval(
        "SELECT app.sp_housekeep($1, $2, $3, $4, $5)",
        keep.quotes,
        keep.events,
        keep.sessions,
        keep.equity,
        keep.bars,
    )
    return int(dropped)


async def roll_up(connection: asyncpg.Connection, span: timedelta) -> int:
    """Make bars of hours and days from minutes, so far back; says how many were written."""
    written = await connection.fetchval(
        "SELECT app.sp_rollup(clock_timestamp() - $1::interval, clock_timestamp())", span
    )
    return int(written)


async def sample_equity(connection: asyncpg.Connection) -> int:
    """Keep what every account is worth now; says how many accounts."""
    return int(await connection.fetchval("SELECT app.sp_equity_sample()"))
