"""Judging the audit log without the API; side effect: Postgres as app_migrate, and the sink."""

import asyncio
import getpass
import json
import os
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from app.admin.client import Failed
from app.admin.commands import Rows, verdict
from app.audits import anchoring, repo
from app.audits.anchors import AnchorInvalid, proof_holds, public_bytes, signing_key
from app.audits.sinks import Sink, SinkError, open_sink
from app.services.database_setup import SetupError, SetupSettings

CONNECT_TIMEOUT_S = 10
# Chains are verified in parallel; half of what the role may open is left to others.
VERIFIERS = min(5, os.cpu_count() or 1)


def is_direct(said: Namespace) -> bool:
    """Say whether a command of the topic `audit` goes around the API."""
    if said.verb == "verify":
        return said.direct or said.anchors is not None
    return said.verb in ("anchor", "prove")


def run_direct(said: Namespace) -> Rows:
    """Do what was said, as app_migrate, whose password is in this installation's secrets."""
    try:
        return asyncio.run(_connected(said, COMMANDS[said.verb]))
    except (SetupError, SinkError, AnchorInvalid, asyncpg.PostgresError, OSError) as error:
        raise Failed(str(error).strip()) from error


@asynccontextmanager
async def connected(
    settings: SetupSettings, count: int = 1
) -> AsyncIterator[list[asyncpg.Connection]]:
    """Open connections as app_migrate for as long as the block."""
    async with AsyncExitStack() as stack:
        connections = [await _connect(settings) for _ in range(count)]
        for connection in connections:
            stack.push_async_callback(connection.close)
        yield connections


async def _connect(settings: SetupSettings) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=settings.database_host,
        port=settings.database_port,
        database=settings.database_name,
        user="app_migrate",
        password=settings.secret("app_migrate_password"),
        timeout=CONNECT_TIMEOUT_S,
    )


async def _connected(said: Namespace, command: "Command") -> Rows:
    settings = SetupSettings.load()
    async with connected(settings) as (connection,):
        return await command(connection, settings, said)


async def _verify(connection: asyncpg.Connection, settings: SetupSettings, said: Namespace) -> Rows:
    heads, _ = await repo.heads(connection)
    streams = {it.stream_id: it.seq for it in heads if said.account in (None, str(it.stream_id))}
    if not streams:
        raise Failed(f"there is no account {said.account}")
    began = time.monotonic()
    async with connected(settings, VERIFIERS) as connections:
        reports = await repo.verify_all([*map(repo.slices, connections)], streams)
    seconds = round(time.monotonic() - began, 3)
    broken = [
        {"account_id": it.stream_id, "broken_seq": it.broken_seq, "why": it.why}
        for it in reports
        if not it.is_whole
    ]
    result: dict[str, Any] = {}
    if said.anchors is not None:
        files = anchoring.read_sink(_sink(said.anchors), said.since)
        if not files:
            raise Failed("the sink holds no anchor")
        key = (
            bytes.fromhex(said.public_key)
            if said.public_key
            else public_bytes(signing_key(settings.secret("anchor_key")))
        )
        found = await anchoring.compare(connection, files, key)
        broken += [
            {"anchor": it.anchor, "account_id": it.stream_id, "seq": it.seq, "why": it.why}
            for it in found
            if it.stream_id in (None, *streams)
        ]
        result = {"anchors": len(files)}
    checked = sum(report.checked for report in reports)
    [row] = verdict(len(reports), checked, seconds, broken)
    return [{**row, **result}]


async def _anchor(connection: asyncpg.Connection, settings: SetupSettings, _: Namespace) -> Rows:
    sink = _sink("")
    key = signing_key(settings.secret("anchor_key"))
    async with connection.transaction():
        actor = f"operator:{getpass.getuser()}"[:100]
        anchor = await anchoring.anchor_now(connection, key, actor=actor)
    await anchoring.carry_out(connection, sink, after=0)
    return [
        {
            "anchor": anchor.name,
            "streams": len(anchor.heads),
            "root": anchor.root.hex(),
            "public_key": anchor.public_key.hex(),
        }
    ]


async def _prove(connection: asyncpg.Connection, _: SetupSettings, said: Namespace) -> Rows:
    newest = await repo.newest_anchor(connection)
    if newest is None:
        raise Failed("there is no anchor yet: informania-admin audit anchor")
    if not said.account.isdecimal():
        raise Failed(f"there is no account {said.account}")
    proof = newest.proof(int(said.account))
    if not proof_holds(proof):
        raise Failed(f"anchor {newest.name} does not prove itself: {json.dumps(proof)}")
    return [proof]


def _sink(address: str) -> Sink:
    address = address or os.environ.get("ANCHOR_SINK", "")
    if not address:
        raise Failed("where are the anchors? set ANCHOR_SINK, like folder:.run/anchors")
    return open_sink(address)


Command = Callable[[asyncpg.Connection, SetupSettings, Namespace], Awaitable[Rows]]
COMMANDS: dict[str, Command] = {"verify": _verify, "anchor": _anchor, "prove": _prove}
