"""The worker's procedures over notifications, one typed function each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg


@dataclass(frozen=True, slots=True)
class Due:
    """A channel whose next message may go, and what it is to tell."""

    channel_id: int
    sealed: bytes
    events: Sequence[dict[str, Any]]

    @property
    def notify_ids(self) -> list[int]:
        return [int(event["notify_id"]) for event in self.events]


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be told, and what was given up."""

    pending: int
    oldest_s: float
    dead: int


async def claim(connection: asyncpg.Connection, *, limit: int, lease_s: float) -> list[Due]:
    """Take channels that are due; nobody else does until the lease is over."""
    rows = await connection.fetch(
        "SELECT channel_id, sealed, events::text FROM app.sp_notify_claim($1, $2)",
        limit,
        timedelta(seconds=lease_s),
    )
    return [Due(row["channel_id"], row["sealed"], json.loads(row["events"])) for row in rows]


async def finish(connection: asyncpg.Connection, due: Due, error: str | None) -> str:
    """Record how a delivery ended; says whether it is sent, to be tried again, or dead."""
    ended = await connection.fetchval(
        "SELECT app.sp_notify_finish($1, $2, $3)", due.channel_id, due.notify_ids, error
    )
    return str(ended)


async def backlog(connection: asyncpg.Connection) -> Backlog:
    """Measure what waits."""
    row = await connection.fetchrow("SELECT pending, oldest_s, dead FROM app.sp_notify_backlog()")
    return Backlog(**row)
