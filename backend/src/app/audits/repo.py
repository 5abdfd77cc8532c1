"""Reads that judge what was written: the audit log and the figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import asyncpg

ACCOUNTS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What verifying one stream's hash chain found."""

    stream_id: int
    checked: int
    broken_seq: int | None

    @property
    def is_whole(self) -> bool:
        return self.broken_seq is None


async def verify(connection: asyncpg.Connection, stream_id: int) -> ChainReport:
    """Recompute a stream's links, hashes and head; finds an edit, a gap and a cut-off tail."""
    row = await connection.fetchrow(
        "SELECT checked, broken_seq FROM app.sp_audit_verify($1)", stream_id
    )
    return ChainReport(stream_id, row["checked"], row["broken_seq"])


async def check_integrity(
    connection: asyncpg.Connection, actor: str, *, after: int | None
) -> tuple[int | None, list[dict[str, Any]]]:
    """Check the figures of the next accounts; how far it came, None at the end, and the breaks."""
    row = await connection.fetchrow(
        "SELECT checked_to, breaks::text AS breaks FROM app.sp_integrity_check($1, $2, $3)",
        *(actor, after, ACCOUNTS_AT_ONCE),
    )
    return row["checked_to"], json.loads(row["breaks"], parse_float=str, parse_int=str)
