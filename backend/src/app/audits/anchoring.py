"""Making anchors, carrying them out of the database, and holding the database against them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.audits import repo
from app.audits.anchors import Anchor, AnchorInvalid, make_anchor, read_file
from app.audits.sinks import Sink


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the anchors contradict."""

    anchor: str
    stream_id: int | None
    # Where the first anchored row is that is not as it was.
    seq: int | None
    why: str


async def anchor_now(
    connection: asyncpg.Connection, key: Ed25519PrivateKey, *, actor: str
) -> Anchor:
    """Sign the heads as they are; the caller's transaction decides whether it counts."""
    before = await repo.newest_anchor(connection)
    heads, read_at = await repo.heads(connection)
    anchor = make_anchor(heads, anchored_at=read_at, before=before, key=key)
    await repo.put_anchor(connection, actor, anchor)
    return anchor


async def carry_out(connection: asyncpg.Connection, sink: Sink, *, after: int) -> int:
    """Put every anchor above a number where it is not yet; returns the highest one.

    An anchor may be in the database and not in the sink, when that was away; then it goes there
    now. The other way round is never mended: it would hide what was lost.
    """
    there = set(await asyncio.to_thread(sink.names))
    while anchors := await repo.anchors_after(connection, after):
        for anchor in anchors:
            if anchor.name not in there:
                await asyncio.to_thread(sink.put, anchor.name, anchor.file())
            after = anchor.number
    return after


def read_sink(sink: Sink, since: str = "") -> dict[str, bytes]:
    """Read the files of a sink from a name on."""
    return {name: sink.read(name) for name in sink.names() if name >= since}


async def compare(
    connection: asyncpg.Connection, files: dict[str, bytes], public_key: bytes
) -> list[Finding]:
    """Say what in the database is not as the anchors have it; signed by that key they must be."""
    findings: list[Finding] = []
    anchors: list[Anchor] = []
    for name, content in files.items():
        try:
            anchor = read_file(content)
        except AnchorInvalid as error:
            findings.append(Finding(name, None, None, str(error)))
            continue
        if anchor.public_key != public_key:
            findings.append(Finding(name, None, None, "signed by another key"))
            continue
        anchors.append(anchor)
    findings += _gaps(anchors)
    newest = await repo.newest_anchor(connection)
    if newest is not None and newest.name not in files:
        findings.append(Finding(newest.name, None, None, "the sink has not the newest anchor"))
    for anchor in anchors:
        findings += await _contradicted(connection, anchor, {it.stream_id for it in findings})
    return findings


def _gaps(anchors: Sequence[Anchor]) -> Iterator[Finding]:
    """Find anchors that do not follow the one before: some are missing, or time was set back."""
    for before, anchor in pairwise(anchors):
        if anchor.previous == before.digest and anchor.number == before.number + 1:
            continue
        missing = anchor.number > before.number + 1
        why = "anchors before it are missing" if missing else "the database was set back before it"
        yield Finding(anchor.name, None, None, why)


async def _contradicted(
    connection: asyncpg.Connection, anchor: Anchor, known: set[int | None]
) -> list[Finding]:
    """Find the streams whose anchored row is gone or another; the first anchor says it once."""
    heads = [it for it in anchor.heads if it.seq > 0 and it.stream_id not in known]
    found = await repo.hashes(connection, [(it.stream_id, it.seq) for it in heads])
    return [
        Finding(
            anchor.name, it.stream_id, it.seq, "the row is gone" if now is None else "rewritten"
        )
        for it in heads
        if (now := found.get((it.stream_id, it.seq))) != it.hash
    ]
