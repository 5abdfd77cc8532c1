"""Reads that judge the audit log."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg


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
