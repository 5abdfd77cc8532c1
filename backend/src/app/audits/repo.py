"""What is read to judge the audit log and the figures, and the anchors; side effect: Postgres."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from app.audits.anchors import Anchor, Head, read_anchor

# A slice takes half a second; it holds its snapshot no longer, and ends before any time-out.
ROWS_A_SLICE = 20_000

ANCHOR_COLUMNS = "statement, signature, public_key, heads::text AS heads"
ACCOUNTS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What verifying one stream's hash chain found; `why` as sp_audit_verify says it."""

    stream_id: int
    checked: int
    broken_seq: int | None
    why: str | None = None

    @property
    def is_whole(self) -> bool:
        return self.broken_seq is None


# (stream, first number, rows) -> a row of sp_audit_verify
Slice = Callable[[int, int, int], Awaitable[Any]]


def slices(connection: asyncpg.Connection) -> Slice:
    """Read slices on a connection that is in no transaction, or in one of READ COMMITTED."""

    async def read(*slice_: int) -> Any:
        return await connection.fetchrow("SELECT * FROM app.sp_audit_verify($1, $2, $3)", *slice_)

    return read


async def verify(connection: asyncpg.Connection, stream_id: int) -> ChainReport:
    """Verify a stream from its first row to its last."""
    [report] = await verify_all([slices(connection)], {stream_id: 0})
    return report


async def verify_all(
    readers: Sequence[Slice], lengths: Mapping[int, int], rows: int = ROWS_A_SLICE
) -> list[ChainReport]:
    """Verify streams of known lengths, as many slices at once as there are readers.

    Each slice is as of its own moment. What was appended meanwhile is verified as well; of a broken
    chain the first broken row is told.
    """
    checked = dict.fromkeys(lengths, 0)
    broken: dict[int, tuple[int, str]] = {}
    # The last ones first, for they are taken from the end.
    waiting = [
        (stream_id, first)
        for stream_id, length in reversed([*lengths.items()])
        for first in reversed(range(1, max(length, 1) + 1, rows))
    ]

    async def work(read: Slice) -> None:
        while waiting:
            stream_id, first = waiting.pop()
            try:
                found = await read(stream_id, first, rows)
            except BaseException:
                waiting.clear()
                raise
            checked[stream_id] += found["checked"]
            if found["broken_seq"] is not None:
                one = (found["broken_seq"], found["why"])
                broken[stream_id] = min(one, broken.get(stream_id, one))
            elif found["next_seq"] is not None and found["next_seq"] > lengths[stream_id]:
                waiting.append((stream_id, found["next_seq"]))

    await asyncio.gather(*map(work, readers))
    return [
        ChainReport(stream_id, checked[stream_id], *broken.get(stream_id, (None,)))
        for stream_id in lengths
    ]


async def heads(connection: asyncpg.Connection) -> tuple[list[Head], datetime]:
    """Return the head of each stream as of one moment, and that moment."""
    rows = await connection.fetch("SELECT stream_id, seq, head, read_at FROM app.sp_audit_heads()")
    return [Head(it["stream_id"], it["seq"], it["head"]) for it in rows], rows[0]["read_at"]


async def hashes(
    connection: asyncpg.Connection, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """Return the hashes of rows named by stream and sequence number; those gone are left out."""
    rows = await connection.fetch(
        "SELECT stream_id, seq, hash FROM app.sp_audit_hashes($1, $2)",
        [place[0] for place in places],
        [place[1] for place in places],
    )
    return {(it["stream_id"], it["seq"]): it["hash"] for it in rows}


async def newest_anchor(connection: asyncpg.Connection) -> Anchor | None:
    """Return the newest anchor that the database keeps."""
    found = await anchors_after(connection, None)
    return found[0] if found else None


async def anchors_after(connection: asyncpg.Connection, number: int | None) -> list[Anchor]:
    """Return up to 100 anchors of higher numbers; of None, the newest one alone."""
    rows = await connection.fetch(
        f"SELECT {ANCHOR_COLUMNS} FROM app.sp_audit_anchors($1)",  # noqa: S608 - a constant
        number,
    )
    return [
        read_anchor(it["statement"], it["signature"], it["public_key"], json.loads(it["heads"]))
        for it in rows
    ]


async def put_anchor(connection: asyncpg.Connection, actor: str, anchor: Anchor) -> None:
    """Keep an anchor; refused when another one came first."""
    await connection.execute(
        "SELECT app.sp_audit_anchor_put($1, $2, $3, $4, $5, $6, $7::text::jsonb)",
        actor,
        anchor.number,
        anchor.anchored_at,
        anchor.statement,
        anchor.signature,
        anchor.public_key,
        json.dumps([head.row() for head in anchor.heads]),
    )


async def check_integrity(
    connection: asyncpg.Connection, actor: str, *, after: int | None
) -> tuple[int | None, list[dict[str, Any]]]:
    """Check the figures of the next accounts; how far it came, None at the end, and the breaks."""
    row = await connection.fetchrow(
        "SELECT checked_to, breaks::text AS breaks FROM app.sp_integrity_check($1, $2, $3)",
        *(actor, after, ACCOUNTS_AT_ONCE),
    )
    return row["checked_to"], json.loads(row["breaks"], parse_float=str, parse_int=str)
