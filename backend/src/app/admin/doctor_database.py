"""What the doctor asks the database, as superuser."""

import asyncio
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.admin.auditing import VERIFIERS, connected
from app.admin.findings import Finding, Patient, fail, graded, ok, warn
from app.audits import anchoring, repo
from app.audits.anchors import public_bytes, signing_key
from app.audits.sinks import open_sink
from app.core.token_keys import key_id_of

# Without these an order that was acknowledged may be gone after a power cut, or damage goes unseen.
SETTINGS = {
    "fsync": ("on",),
    "synchronous_commit": ("on", "remote_write", "remote_apply"),
    "full_page_writes": ("on",),
    "data_checksums": ("on",),
    "wal_level": ("replica", "logical"),
    "data_sync_retry": ("off",),
    "ignore_checksum_failure": ("off",),
    "zero_damaged_pages": ("off",),
    "password_encryption": ("scram-sha-256",),
    "autovacuum": ("on",),
}
ROLES = ("app_owner", "audit_owner", "app_migrate", "app_write", "app_worker", "app_read", "core")
RUNTIME_ROLES = ("app_write", "app_worker", "app_read", "core")
# Longer than any of their time-outs.
OVERDUE_S = 60
# Every right, and the query that lists them; test_rights.py compares the two as well.
RIGHTS = Path(__file__).with_name("rights.snapshot.txt")
RIGHTS_QUERY = Path(__file__).with_name("rights_query.sql")
RIGHTS_SHOWN_MAX = 5
PARTITION = re.compile(r"_p\d{8}\b")
SHARDS = 16
BRIDGE_SILENT_S = 60.0
OUTBOX_WARN_S, OUTBOX_FAIL_S = 30.0, 300.0
CLOCK_WARN_S, CLOCK_FAIL_S = 0.1, 1.0
ACTOR = "system:doctor"


def settings(it: Patient) -> Iterator[Finding]:
    """Look at what an acknowledged order's survival hangs on."""
    wrong = False
    for name, good in SETTINGS.items():
        (value,) = it.row("SELECT current_setting(%s)", name)
        if value not in good:
            wrong = True
            yield fail(
                f"{name} is {value}",
                "data_checksums: stop the server and run pg_checksums --enable"
                if name == "data_checksums"
                else f"set {name} = {good[0]}, as db/postgres/config/postgresql.conf has it",
            )
    query = """
        SELECT coalesce(r.rolname, 'everybody'), s.entry
        FROM pg_db_role_setting AS d
        CROSS JOIN LATERAL unnest(d.setconfig) AS s (entry)
        LEFT JOIN pg_roles AS r ON r.oid = d.setrole"""
    for role, entry in it.rows(query):
        name, _, value = entry.partition("=")
        if name in SETTINGS and value not in SETTINGS[name]:
            wrong = True
            yield fail(f"{name} is {value} for {role}", f"ALTER ROLE ... RESET {name}")
    if not wrong:
        yield ok(f"{len(SETTINGS)} settings are as they must be")


def sessions(it: Patient) -> Iterator[Finding]:
    """Name statements and transactions that should have been ended long ago."""
    query = """
        SELECT usename, count(*), max(extract(EPOCH FROM clock_timestamp() - xact_start))::integer
        FROM pg_stat_activity
        WHERE usename = ANY(%s) AND clock_timestamp() - xact_start > make_interval(secs => %s)
        GROUP BY usename ORDER BY usename"""
    overdue = it.rows(query, list(RUNTIME_ROLES), OVERDUE_S)
    for role, count, seconds in overdue:
        yield fail(
            f"{count} transactions of {role} run for up to {seconds} s, beyond its time-out",
            "somebody switched it off: pg_terminate_backend, then a new password of that role",
        )
    if not overdue:
        yield ok("no transaction outlives its role's time-out")


def damage(it: Patient) -> Iterator[Finding]:
    """Ask whether Postgres found damaged pages."""
    (count,) = it.row("SELECT coalesce(sum(checksum_failures), 0)::bigint FROM pg_stat_database")
    if count:
        yield fail(f"{count} pages are damaged", "look at the disk; restore from a backup")
    else:
        yield ok("no damaged page was read")


def rights(it: Patient) -> Iterator[Finding]:
    """Compare every right with the snapshot, and look who else may do everything."""
    # A partition is made for each day; its rights must be those of the one that is always there.
    query = RIGHTS_QUERY.read_text().replace("%", "%%")
    found = {PARTITION.sub("_default", row[0]) for row in it.rows(query)}
    lines = RIGHTS.read_text().splitlines()
    expected = {line for line in lines if not line.startswith("#")}
    if it.row("SELECT market.has_timescale()")[0]:
        # A hypertable has no default partition; that is all the difference.
        expected = {line for line in expected if "_default:" not in line or "market." not in line}
    changed = sorted(
        [f"+ {it}" for it in found - expected] + [f"- {it}" for it in expected - found]
    )
    if changed:
        more = f" and {len(changed) - RIGHTS_SHOWN_MAX} more" * (len(changed) > RIGHTS_SHOWN_MAX)
        yield fail(
            f"rights differ: {'; '.join(changed[:RIGHTS_SHOWN_MAX])}{more}",
            "run bootstrap and migrate again; if it comes back, somebody granted it by hand",
        )
    else:
        yield ok(f"{len(expected)} rights are those of the snapshot")
    query = "SELECT rolname FROM pg_roles WHERE (rolsuper OR rolbypassrls) AND oid <> 10"
    if others := [row[0] for row in it.rows(query)]:
        yield fail(f"more superusers: {', '.join(others)}", "DROP ROLE, or ALTER ROLE NOSUPERUSER")
    missing = set(ROLES) - {row[0] for row in it.rows("SELECT rolname FROM pg_roles")}
    if missing:
        yield fail(f"roles are missing: {', '.join(sorted(missing))}", "run bootstrap")


def schema(it: Patient) -> Iterator[Finding]:
    """Compare the revision and what is repeatable with this release."""
    from app.services import database_setup as setup  # noqa: PLC0415 - alembic is slow to load

    wanted = {
        name: setup.checksum(it.settings.path(name).read_text())
        for name in setup.repeatable_files(it.settings)
    }
    laid = dict(it.rows("SELECT path, sha256 FROM app.repeatable"))
    different = sorted(
        name for name in wanted.keys() | laid.keys() if wanted.get(name) != laid.get(name)
    )
    if different:
        yield fail(f"the database is of another release: {different[0]} differs", "run migrate")
    else:
        yield ok(f"revision {it.row('SELECT app.sp_schema_revision()')[0]}, all procedures laid")


def chains(it: Patient) -> Iterator[Finding]:
    """Verify every audit chain, and hold it against the anchors."""
    checked, broken, streams = asyncio.run(_verified(it))
    if broken:
        yield fail(
            f"{len(broken)} audit chains are broken: {'; '.join(broken[:RIGHTS_SHOWN_MAX])}",
            "halt trading, keep a copy of the data, read docs/audit.md",
        )
    else:
        yield ok(f"{checked} rows of {streams} audit chains are whole")


async def _verified(it: Patient) -> tuple[int, list[str], int]:
    async with connected(it.settings, VERIFIERS) as connections:
        heads, _ = await repo.heads(connections[0])
        lengths = {head.stream_id: head.seq for head in heads}
        reports = await repo.verify_all([*map(repo.slices, connections)], lengths)
    broken = [
        f"account {one.stream_id} at {one.broken_seq} ({one.why})"
        for one in reports
        if not one.is_whole
    ]
    return sum(one.checked for one in reports), broken, len(reports)


def anchors(it: Patient) -> Iterator[Finding]:
    """Hold the database against what lies outside of it, and see how old that is."""
    if not it.anchor_sink:
        yield warn("no anchor can be seen from here", "set ANCHOR_SINK, as the worker has it")
        return
    files = anchoring.read_sink(open_sink(it.anchor_sink), it.since)
    if not files:
        yield fail(f"{it.anchor_sink} holds no anchor", "is the worker running? else: "
                   "informania-admin audit anchor")  # fmt: skip
        return
    key = public_bytes(signing_key(it.settings.secret("anchor_key")))
    for one in asyncio.run(_contradicted(it, files, key)):
        where = f"account {one.stream_id} at {one.seq}: " if one.stream_id is not None else ""
        yield fail(
            f"{one.anchor}: {where}{one.why}",
            "halt trading, keep a copy of the data; after a restore that was meant: --since",
        )
    newest = max(files)
    taken_at = datetime.strptime(newest[:22], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
    age_s = (datetime.now(UTC) - taken_at).total_seconds()
    yield graded(
        age_s,
        f"{len(files)} anchors, the newest {timedelta(seconds=round(age_s))} old",
        "is the worker running, and its ANCHOR_SINK writable? its log says",
        warn_at=it.anchor_every_s * 1.5,
        fail_at=it.anchor_every_s * 24,
    )


async def _contradicted(
    it: Patient, files: dict[str, bytes], key: bytes
) -> list[anchoring.Finding]:
    async with connected(it.settings) as (connection,):
        return await anchoring.compare(connection, files, key)


def figures(it: Patient) -> Iterator[Finding]:
    """Prove positions, cash and orders from their executions."""
    after, count = None, 0
    while True:
        query = (
            "SELECT checked_to, jsonb_array_length(breaks) FROM app.sp_integrity_check(%s, %s, %s)"
        )
        after, found = it.row(query, ACTOR, after, 100)
        count += found
        if after is None:
            break
    if count:
        yield fail(f"{count} figures are not what their rows make them",
                   "informania-admin integrity check lists them")  # fmt: skip
    else:
        yield ok("positions, cash and orders follow from their executions")


def outbox(it: Patient) -> Iterator[Finding]:
    """See what is owed to the brokers, and who carries it."""
    since, reason, unanswered, held = it.row("SELECT * FROM app.sp_outbox_unanswered()")
    if since is not None:
        yield warn(
            f"in quarantine since {since:%Y-%m-%d %H:%M}Z ({reason}): {unanswered} rows wait for"
            f" an answer, {held} are held",
            "reconcile with the broker, then informania-admin outbox release",
        )
    query = "SELECT pending, oldest_s, parked, dead, lost FROM app.sp_outbox_age()"
    pending, oldest_s, parked, dead, lost = it.row(query)
    yield graded(
        oldest_s,
        f"{pending} rows are owed, the oldest for {oldest_s:.0f} s",
        "is the worker running and the bridge heard? its log says what it waits for",
        warn_at=OUTBOX_WARN_S,
        fail_at=OUTBOX_FAIL_S,
    )
    if parked:
        query = "SELECT stream_id, last_error FROM app.outbox_parked WHERE next_attempt_at > now()"
        lanes = "; ".join(f"account {one} ({why})" for one, why in it.rows(f"{query} LIMIT 3"))
        yield warn(f"{parked} accounts wait: {lanes}", "the reason says for what")
    if dead:
        yield fail(f"{dead} rows could not be sent", "look into app.events_dead, then reconcile")
    if lost:
        yield fail(f"{lost} orders are lost: the broker does not know what it had reported on",
                   "ask the broker, and settle them by hand")  # fmt: skip
    (age_s,) = it.row(
        "SELECT coalesce(extract(EPOCH FROM clock_timestamp() - min(received_at)), 0)::float8"
        " FROM app.inbox WHERE applied_at IS NULL"
    )
    yield graded(
        age_s,
        f"reports of the brokers are booked; the oldest unbooked one is {age_s:.0f} s old",
        "the worker's log says why it cannot be applied",
        warn_at=OUTBOX_WARN_S,
        fail_at=OUTBOX_FAIL_S,
    )


def lanes(it: Patient) -> Iterator[Finding]:
    """See whether somebody sends, and whether the far ends are heard."""
    (owned,) = it.row(
        "SELECT count(*) FROM app.outbox_shards WHERE lease_until > clock_timestamp()"
    )
    if owned < SHARDS:
        yield fail(f"{SHARDS - owned} of {SHARDS} shards have no worker",
                   "start a worker: orders of these accounts wait")  # fmt: skip
    else:
        yield ok(f"all {SHARDS} shards have a worker")
    query = """SELECT source, extract(EPOCH FROM clock_timestamp() - heartbeat_at)::float8
        FROM app.sp_bridges()"""
    for source, silent_s in it.rows(query):
        if silent_s is None or silent_s > BRIDGE_SILENT_S:
            ago = "never" if silent_s is None else f"{silent_s:.0f} s ago"
            yield fail(f"bridge {source} was heard {ago}",
                       "is its algorithm running, and WEBHOOK_URL reachable?")  # fmt: skip
        else:
            yield ok(f"bridge {source} is heard")


def database_clock(it: Patient) -> Iterator[Finding]:
    """Compare the database's clock with this machine's."""
    before = time.time()
    (theirs,) = it.row("SELECT extract(EPOCH FROM clock_timestamp())::float8")
    after = time.time()
    # What the way there and back may hide is not held against it.
    offset_s = max(0.0, before - theirs, theirs - after)
    yield graded(
        offset_s,
        f"the database's clock is within {offset_s * 1000:.0f} ms of this machine's",
        "let chrony or the host set both clocks",
        warn_at=CLOCK_WARN_S,
        fail_at=CLOCK_FAIL_S,
    )


def read_tokens(it: Patient) -> Iterator[Finding]:
    """See that the database believes the key which the API signs with, and no other."""
    known = {row[0] for row in it.rows("SELECT key_id FROM security.token_keys")}
    ours = key_id_of(it.settings.secret("db_token_key"))
    if ours not in known:
        yield fail("the database does not believe db_token_key: nobody sees a row", "run migrate")
    elif len(known) > 1:
        yield warn(f"{len(known) - 1} older keys of read tokens are believed",
                   "python -m app.services.database_setup retire-token-keys")  # fmt: skip
    else:
        yield ok("read tokens are believed by one key, that of this installation")
