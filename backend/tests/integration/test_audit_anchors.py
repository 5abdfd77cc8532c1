"""What a superuser can do to the audit log, and who finds it: the chain alone, or the anchors."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_user
from worker_world import Desk, Venue, desk, eventually, first, running_worker, venue

from app.admin.__main__ import main
from app.audits import anchoring, repo
from app.audits.anchors import Anchor, Head, make_anchor, public_bytes, read_file, signing_key
from app.audits.sinks import FolderSink, open_sink

__all__ = ["desk", "venue"]

LENGTH = 9
ANCHORED = 6
KEY = signing_key("k" * 64)
PUBLIC_KEY = public_bytes(KEY)

# Makes every hash of a stream anew, as somebody does who may do everything and knows the formula.
RELINK = """
DO $$
DECLARE
    v_row record;
    v_head bytea := '';
BEGIN
    FOR v_row IN SELECT * FROM audit.audit_log WHERE stream_id = 7 ORDER BY seq LOOP
        UPDATE audit.audit_log SET
            prev_hash = v_head,
            hash = app.sp_audit_hash(v_head, v_row.stream_id, v_row.seq, v_row.epoch_us,
                app.sp_audit_names(v_row.actor, v_row.db_user, v_row.action), v_row.detail)
        WHERE stream_id = 7 AND seq = v_row.seq
        RETURNING hash INTO v_head;
    END LOOP;
    UPDATE app.streams SET head = v_head WHERE stream_id = 7;
END
$$"""
EDIT = "UPDATE audit.audit_log SET action = 'order.cancel' WHERE stream_id = 7 AND seq = 4"
DELETION = "DELETE FROM audit.audit_log WHERE stream_id = 7 AND seq = 4"
SWAP = (
    "UPDATE audit.audit_log SET seq = -seq WHERE stream_id = 7 AND seq IN (3, 4)",
    "UPDATE audit.audit_log SET seq = 7 + seq WHERE stream_id = 7 AND seq < 0",
)
CUT = (
    "DELETE FROM audit.audit_log WHERE stream_id = 7 AND seq > 4",
    "UPDATE app.streams AS s SET seq = 4, head = a.hash FROM audit.audit_log AS a"
    " WHERE s.stream_id = 7 AND a.stream_id = 7 AND a.seq = 4",
)
# Name -> what is done, what the chain finds, what the anchors find.
ATTACKS: dict[str, tuple[tuple[str, ...], int | None, str | None]] = {
    "nothing": ((), None, None),
    "an edited row": ((EDIT,), 4, None),
    "a deleted row": ((DELETION,), 4, None),
    "a swapped pair": (SWAP, 3, None),
    "a chain linked anew": ((EDIT, RELINK), None, "rewritten"),
    "a tail that was cut off, with its head": (CUT, None, "the row is gone"),
}


async def append(connection: asyncpg.Connection, *numbers: int) -> None:
    for number in numbers:
        query = "SELECT app.sp_audit_append(7, 'user:x', 'order.place', $1)"
        await connection.execute(query, json.dumps({"number": number}))


async def tamper(connection: asyncpg.Connection, *statements: str) -> None:
    await connection.execute("ALTER TABLE audit.audit_log DISABLE TRIGGER ALL")
    await connection.execute("ALTER TABLE audit.anchors DISABLE TRIGGER ALL")
    for statement in statements:
        await connection.execute(statement)


@pytest.fixture
async def superuser(database: Database) -> asyncpg.Connection:
    """Somebody who may do everything, and a chain whose first rows are anchored outside."""
    connection = await database.connect("postgres")
    await connection.execute("INSERT INTO app.streams (stream_id) VALUES (7)")
    return connection


@pytest.fixture
def sink(tmp_path: Path) -> FolderSink:
    """A folder outside the database."""
    return FolderSink(tmp_path / "anchors")


async def anchored(connection: asyncpg.Connection, sink: FolderSink) -> Anchor:
    async with connection.transaction():
        anchor = await anchoring.anchor_now(connection, KEY, actor="system:test")
    await anchoring.carry_out(connection, sink, after=0)
    return anchor


async def whys(connection: asyncpg.Connection, sink: FolderSink) -> list[str]:
    found = await anchoring.compare(connection, anchoring.read_sink(sink), PUBLIC_KEY)
    return [it.why for it in found]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_every_attack_is_found_by_the_chain_or_by_the_anchors(
    superuser: asyncpg.Connection, sink: FolderSink, attack: str
) -> None:
    statements, broken_seq, found = ATTACKS[attack]
    await append(superuser, *range(ANCHORED))
    await anchored(superuser, sink)
    await append(superuser, *range(ANCHORED, LENGTH))

    await tamper(superuser, *statements)

    report = await repo.verify(superuser, 7)
    assert report.broken_seq == broken_seq
    if report.is_whole:
        assert await whys(superuser, sink) == ([found] if found else [])
    else:
        # The rows after an edit keep their hashes, so nothing is told twice.
        assert set(await whys(superuser, sink)) <= {"the row is gone"}


async def test_what_was_rewritten_is_found_where_it_was_anchored(
    superuser: asyncpg.Connection, sink: FolderSink
) -> None:
    await append(superuser, 1, 2)
    await anchored(superuser, sink)
    await append(superuser, 3, 4, 5)
    second = await anchored(superuser, sink)
    await append(superuser, 6)
    await anchored(superuser, sink)
    await tamper(superuser, EDIT, RELINK)

    found = await anchoring.compare(superuser, anchoring.read_sink(sink), PUBLIC_KEY)

    assert [(it.anchor, it.stream_id, it.seq) for it in found] == [(second.name, 7, 5)]


async def test_a_database_that_was_set_back_cannot_hide_it_by_anchoring_on(
    superuser: asyncpg.Connection, sink: FolderSink
) -> None:
    await append(superuser, 1)
    await anchored(superuser, sink)
    await anchored(superuser, sink)
    await tamper(superuser, "DELETE FROM audit.anchors WHERE number = 2")
    forked = await anchored(superuser, sink)
    names = sink.names()
    assert (len(names), forked.number) == (3, 2)
    assert "the database was set back before it" in await whys(superuser, sink)
    # After an honest restore an operator says from where on he looks.
    files = anchoring.read_sink(sink, since=forked.name)
    assert await anchoring.compare(superuser, files, PUBLIC_KEY) == []


async def test_anchors_that_vanished_from_the_sink_are_missed(
    superuser: asyncpg.Connection, sink: FolderSink, tmp_path: Path
) -> None:
    made = [await anchored(superuser, sink) for _ in range(3)]
    (tmp_path / "anchors" / made[1].name).unlink()
    assert await whys(superuser, sink) == ["anchors before it are missing"]
    (tmp_path / "anchors" / made[2].name).unlink()
    assert await whys(superuser, sink) == ["the sink has not the newest anchor"]


async def test_an_anchor_of_another_key_or_none_is_refused(
    superuser: asyncpg.Connection, sink: FolderSink
) -> None:
    await append(superuser, 1)
    real = await anchored(superuser, sink)
    forged = make_anchor(
        [Head(7, 1, b"x" * 32)],
        anchored_at=real.anchored_at.replace(year=2090),
        before=real,
        key=signing_key("another"),
    )
    sink.put(forged.name, forged.file())
    sink.put("9.json", b"{}")
    found = await whys(superuser, sink)
    assert found[0] == "signed by another key"
    assert found[1].startswith("the file is no anchor")


async def test_two_who_anchor_at_once_do_not_fork(
    superuser: asyncpg.Connection, database: Database
) -> None:
    heads, read_at = await repo.heads(superuser)
    one = make_anchor(heads, anchored_at=read_at, before=None, key=KEY)
    for role in ("app_worker", "app_migrate"):
        connection = await database.connect(role)
        if role == "app_worker":
            await repo.put_anchor(connection, "system:anchor", one)
        else:
            with pytest.raises(asyncpg.PostgresError) as refusal:
                await repo.put_anchor(connection, "system:anchor", one)
            assert (refusal.value.sqlstate, refusal.value.detail) == ("IN409", "anchor_stale")
    assert await superuser.fetchval("SELECT count(*) FROM audit.anchors") == 1
    action = "SELECT action FROM audit.audit_log WHERE stream_id = 0 ORDER BY seq DESC LIMIT 1"
    assert await superuser.fetchval(action) == "audit.anchor"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit.anchors SET statement = 'x'",
        "DELETE FROM audit.anchors",
        "TRUNCATE audit.anchors",
    ],
)
@pytest.mark.parametrize("role", ["app_owner", "audit_owner", "postgres"])
async def test_nobody_changes_an_anchor(
    superuser: asyncpg.Connection, sink: FolderSink, change: str, role: str
) -> None:
    await anchored(superuser, sink)
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(f"SET ROLE {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await superuser.execute(change)


async def test_the_worker_anchors_at_its_hour_and_carries_out_what_was_kept_back(
    desk: Desk, venue: Venue, tmp_path: Path
) -> None:
    await desk.place(first(desk))
    place = tmp_path / "away"
    place.write_text("a file where the folder of the sink belongs")
    changes = {"anchor_sink": f"folder:{place}", "anchor_every_s": 3600}
    async with running_worker(venue, **changes) as worker:
        kept = "SELECT count(*) FROM audit.anchors"
        await eventually(lambda: desk.value(kept))
        await eventually(lambda: worker.metric("step_failures_total", step="anchor") >= 1)
        place.unlink()
        await eventually(lambda: worker.metric("audit_anchor_number") == 1)
        assert await desk.value(kept) == 1
    [name] = open_sink(f"folder:{place}").names()
    anchor = read_file((place / name).read_bytes())
    assert {head.stream_id for head in anchor.heads} == {0, *desk.accounts}


@pytest.fixture
async def command(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Run informania-admin audit ... as an operator without the API."""
    monkeypatch.setenv("SECRETS_DIR", str(database.settings.secrets_dir))
    monkeypatch.setenv("DATABASE_PORT", str(database.port))
    monkeypatch.setenv("DATABASE_HOST", database.host)
    monkeypatch.setenv("DATABASE_NAME", database.name)
    monkeypatch.setenv("ANCHOR_SINK", f"folder:{tmp_path / 'anchors'}")

    def run(*words: str) -> tuple[int, str]:
        out = io.StringIO()
        code = main(["--json", "audit", *words], out=out)
        return code, out.getvalue()

    return run


async def test_an_operator_verifies_anchors_and_proves(
    database: Database,
    command: Callable[..., tuple[int, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    migrate = await database.connect("app_migrate")
    account_id = await make_account(migrate, {await make_user(migrate): True})

    def run(*words: str) -> tuple[int, str]:
        # The command brings an event loop of its own.
        return _in_thread(lambda: command(*words))

    assert run("verify", "--anchors")[0] == 1
    assert "holds no anchor" in capsys.readouterr().err
    code, out = run("anchor")
    assert code == 0
    [made] = json.loads(out)
    assert made["streams"] == 2
    code, out = run("verify", "--anchors")
    [whole] = json.loads(out)
    assert (code, whole["whole"], whole["chains"], whole["anchors"]) == (0, True, 2, 1)
    assert whole["rows_per_s"] > 0
    code, out = run("prove", str(account_id))
    proof = json.loads(out)
    assert (code, proof["public_key"]) == (0, made["public_key"])
    assert json.loads(proof["leaf"])[0] == account_id
    assert run("prove", "4711")[0] == 1
    assert run("verify", "--direct", "--account", "4711")[0] == 1

    superuser = await database.connect("postgres")
    await tamper(superuser, "UPDATE audit.audit_log SET actor = 'x' WHERE stream_id = 0")
    capsys.readouterr()
    assert run("verify", "--direct", "--account", str(account_id))[0] == 0
    assert run("verify", "--direct")[0] == 1
    assert "broken_seq 1, why content" in capsys.readouterr().err
    other = ("--public-key", "00" * 32)
    assert run("verify", "--account", str(account_id), "--anchors", *other)[0] == 1
    assert "signed by another key" in capsys.readouterr().err


def _in_thread(call: Callable[[], tuple[int, str]]) -> tuple[int, str]:

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(60)
