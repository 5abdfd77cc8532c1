"""Restores a backup into an empty folder, to a moment, and holds the result against the anchors.

Nothing of it is sent again: the restored outbox is in quarantine, and trading is halted, before
anybody else gets in.
"""

import asyncio
import getpass
import json
import shutil
import subprocess
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import psycopg

from app.admin.auditing import VERIFIERS, connected
from app.admin.backup import FACTS
from app.admin.client import Failed
from app.admin.commands import Rows
from app.admin.machine import Machine, free_port, on_machine
from app.audits import anchoring, repo
from app.audits.anchors import public_bytes, signing_key
from app.audits.sinks import SinkError, open_sink
from app.services.database_setup import SetupSettings
from native import backups, postgres
from native.summary import running_state

RECOVERY_TIMEOUT_S = 3600
STOP_TIMEOUT_S = 60
POLL_S = 0.1
LOG_TAIL = 1200


# What tells what happened: table -> the order of its rows.
CONTENTS = {
    "app.orders": "t.order_id",
    "app.executions": "t.execution_id",
    "app.order_events": "t::text",
    "app.cash_movements": "t::text",
    "app.events_outbox": "t.event_id",
    "app.streams": "t.stream_id",
    "audit.audit_log": "t.stream_id, t.seq",
}
DIGEST = """
    SELECT encode(sha256(coalesce(
        string_agg(sha256(convert_to(t::text, 'UTF8')), ''::bytea ORDER BY {key}), ''
    )), 'hex')
    FROM {table} AS t"""

# The last moment that is in it, and the timeline it goes on with.
RESTORED = """
    SELECT
        greatest(
            pg_last_xact_replay_timestamp(),
            (SELECT to_timestamp(max(epoch_us) / 1e6) FROM audit.audit_log),
            (SELECT max(anchored_at) FROM audit.anchors)
        ),
        left(pg_walfile_name(pg_current_wal_lsn()), 8)"""


@dataclass(frozen=True)
class _Plan:
    backup: backups.Backup
    archive: Path
    target: Path
    until: datetime | None
    # Whether the installation itself is restored, and not a copy to look at.
    own: bool


def run(said: Namespace) -> Rows:
    """Do what was said."""
    with on_machine(native=True) as machine:
        began = time.monotonic()
        plan = _plan(machine, said)
        if plan.own and running_state(machine.installation):
            raise Failed("the platform is running: make down first")
        backups.require_empty(plan.target)
        backups.verify(machine.binaries, plan.backup)
        segments, missing = backups.check_archive(plan.backup, plan.archive)
        if missing and not said.up_to_gap:
            raise Failed(
                f"{plan.archive} lacks {missing}: what was written after it cannot be restored."
                " Find that file, or restore up to there with --up-to-gap"
            )
        backups.lay(plan.backup, plan.target, archive=plan.archive, until=plan.until)
        with _recovered(machine, plan) as settings:
            row = asyncio.run(_judge(machine, settings, plan, said))
        if plan.own:
            row["hot_store"] = _lay_hot_store(machine, plan.backup)
        seconds = round(time.monotonic() - began, 1)
        return [{"backup": plan.backup.name, "segments": segments, **row, "seconds": seconds}]


def _plan(machine: Machine, said: Namespace) -> _Plan:
    folder = machine.backups(said.source)
    until = _moment(said.until) if said.until else None
    name = said.name
    backups.require_private(folder)
    if until and name is None and (name := backups.before(folder, until)) is None:
        raise Failed(f"{folder} holds no backup from before {said.until}")
    backup = backups.chosen(folder, name)
    if until and until <= backup.taken_at:
        raise Failed(f"backup {backup.name} was begun after {said.until}: name an older one")
    target = Path(said.to).absolute() if said.to else machine.installation.data
    return _Plan(backup, folder / "wal", target, until, target == machine.installation.data)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Failed(f"{text} is no moment like 2026-11-27T20:56:48+00:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextmanager
def _recovered(machine: Machine, plan: _Plan) -> Iterator[SetupSettings]:
    """Let the server recover at a port of its own, and stop it at the end of the block."""
    before = (plan.backup.data / "postgresql.auto.conf").read_text()
    settings = machine.settings(free_port())
    # Only the installation itself adds to the log of its life; a copy must leave no trace there.
    options = backups.archive_args(plan.archive, plan.target.stat()) if plan.own else []
    argv = postgres.server_argv(
        machine.binaries, plan.target, settings.database_port, options=options
    )
    log = plan.target.with_name(f"{plan.target.name}.restore.log")
    with log.open("wb") as output:
        log.chmod(0o600)
        server = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _await_recovery(settings, server, log)
        yield settings
    finally:
        server.send_signal(postgres.STOP_SIGNAL)
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    backups.settle(plan.target, before)
    log.unlink()


def _await_recovery(settings: SetupSettings, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + RECOVERY_TIMEOUT_S
    while True:
        if server.poll() is not None:
            raise Failed(f"the server ended while it recovered:\n{log.read_text()[-LOG_TAIL:]}")
        try:
            settings.connect("postgres").close()
            return
        except psycopg.OperationalError as error:
            if "password" in str(error):
                message = "the backup knows another password of postgres: put that secret back"
                raise Failed(message) from error
            if time.monotonic() > deadline:
                raise Failed(f"it did not recover in {RECOVERY_TIMEOUT_S} s: {log}") from error
        time.sleep(POLL_S)


async def _judge(
    machine: Machine, settings: SetupSettings, plan: _Plan, said: Namespace
) -> dict[str, Any]:
    with settings.connect("postgres") as superuser:
        facts = superuser.execute(RESTORED).fetchone()
        held = contents(superuser)
    last_at, timeline = facts or (None, "")
    restored_to: datetime = last_at or plan.backup.taken_at
    async with connected(settings, VERIFIERS) as connections:
        connection = connections[0]
        # Held before it is judged: whatever comes of that, nothing may be sent.
        actor = f"operator:{getpass.getuser()}"[:100]
        reason = f"restored from backup {plan.backup.name} to {restored_to.isoformat()}"
        owed = await connection.fetchval("SELECT app.sp_outbox_quarantine($1, $2)", actor, reason)
        await connection.execute(
            "SELECT app.sp_trading_state_force($1, 'global', 0, 'halted', $2)", actor, reason
        )
        checked, broken = await _chains(connections, plan.backup)
        names, later, found = await _anchors(connection, machine, settings, restored_to, said)
    if broken or found:
        raise Failed(
            f"{plan.target} is restored and held, but it is not what was there:"
            f" {json.dumps(broken + found)}"
        )
    return {
        "restored_to": restored_to.isoformat(),
        "folder": str(plan.target),
        "timeline": int(timeline or "0", 16),
        "rows_checked": checked,
        "anchors": names,
        "anchors_later": later,
        "unanswered": owed,
        "contents": held,
    }


def contents(connection: psycopg.Connection) -> dict[str, str]:
    """Return the hash over all rows of each table that tells what happened; as superuser."""
    found = {}
    for table, key in CONTENTS.items():
        query = DIGEST.format(table=table, key=key)
        row = connection.execute(query.encode()).fetchone()
        found[table] = str(row[0] if row else "")
    return found


async def _chains(
    connections: Sequence[asyncpg.Connection], backup: backups.Backup
) -> tuple[int, list[dict[str, Any]]]:
    """Verify every chain, and that what the backup saw of them is in there."""
    heads, _ = await repo.heads(connections[0])
    lengths = {head.stream_id: head.seq for head in heads}
    reports = await repo.verify_all([*map(repo.slices, connections)], lengths)
    broken: list[dict[str, Any]] = [
        {"account_id": it.stream_id, "seq": it.broken_seq, "why": it.why}
        for it in reports
        if not it.is_whole
    ]
    facts = json.loads((backup.folder / FACTS).read_text())
    known = {(stream, seq): hash_ for stream, seq, hash_ in facts["heads"] if seq}
    now = await repo.hashes(connections[0], list(known))
    broken += [
        {"account_id": place[0], "seq": place[1], "why": "not as the backup saw it"}
        for place, hash_ in known.items()
        if now.get(place, b"").hex() != hash_
    ]
    return sum(report.checked for report in reports), broken


async def _anchors(
    connection: asyncpg.Connection,
    machine: Machine,
    settings: SetupSettings,
    restored_to: datetime,
    said: Namespace,
) -> tuple[int, list[str], list[dict[str, Any]]]:
    """Hold the chains against the anchors from before the moment; those after it are named."""
    address = said.anchors or machine.anchor_sink
    try:
        files = anchoring.read_sink(open_sink(address))
    except FileNotFoundError as error:
        raise SinkError(f"{address} cannot be read: {error.strerror}") from error
    stamp = f"{restored_to.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
    earlier = {name: it for name, it in files.items() if name[: len(stamp)] <= stamp}
    key = (
        bytes.fromhex(said.public_key)
        if said.public_key
        else public_bytes(signing_key(settings.secret("anchor_key")))
    )
    found = [
        {"anchor": it.anchor, "account_id": it.stream_id, "seq": it.seq, "why": it.why}
        for it in await anchoring.compare(connection, earlier, key)
    ]
    return len(earlier), [name for name in files if name not in earlier], found


def _lay_hot_store(machine: Machine, backup: backups.Backup) -> bool:
    """Put the copy of the hot store back where none is; it is never laid over a newer one."""
    copy, target = backup.folder / "hot" / "data.mdb", machine.hot_store / "data.mdb"
    if not copy.exists() or target.exists():
        return False
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(copy, target)
    target.chmod(0o600)
    return True
