"""The audit log: appended to by everyone's writes, changed by nobody unnoticed."""

import hashlib
import json
from collections.abc import Sequence

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_user

from app.audits.repo import slices, verify_all

LENGTH = 6
CHANGES = (
    "UPDATE audit.audit_log SET action = 'x'",
    "DELETE FROM audit.audit_log",
    "TRUNCATE audit.audit_log",
    "MERGE INTO audit.audit_log AS t USING (SELECT 1) AS s ON TRUE WHEN MATCHED THEN DELETE",
)


@pytest.fixture
async def superuser(database: Database) -> asyncpg.Connection:
    """A connection of somebody who may do everything, with a chain of a known length to attack."""
    connection = await database.connect("postgres")
    await connection.execute("INSERT INTO app.streams (stream_id) VALUES (7)")
    for number in range(1, LENGTH + 1):
        query = "SELECT app.sp_audit_append(7, 'user:x', 'order.place', $1)"
        detail = json.dumps({"number": number, "price": "1.50", "text": 'ü"\\\n'})
        assert await connection.fetchval(query, detail) == number
    return connection


async def why(connection: asyncpg.Connection) -> str | None:
    """Return what is wrong at the first broken row."""
    reason: str | None = await connection.fetchval("SELECT why FROM app.sp_audit_verify(7)")
    return reason


async def verify(connection: asyncpg.Connection) -> tuple[int, int | None]:
    """Return how many rows were checked, and the first broken one."""
    row = await connection.fetchrow("SELECT * FROM app.sp_audit_verify(7)")
    assert row is not None
    return row["checked"], row["broken_seq"]


async def tamper(connection: asyncpg.Connection, *statements: str) -> None:
    """Do as a superuser who takes the guard away and puts it back."""
    await connection.execute("ALTER TABLE audit.audit_log DISABLE TRIGGER audit_log_append_only")
    for statement in statements:
        await connection.execute(statement)
    await connection.execute(
        "ALTER TABLE audit.audit_log ENABLE ALWAYS TRIGGER audit_log_append_only"
    )


async def test_an_untouched_chain_is_whole(superuser: asyncpg.Connection) -> None:
    assert await verify(superuser) == (LENGTH, None)


async def test_an_unknown_stream_is_whole_and_empty(superuser: asyncpg.Connection) -> None:
    row = await superuser.fetchrow("SELECT * FROM app.sp_audit_verify(4711)")
    assert row is not None
    assert (row["checked"], row["broken_seq"]) == (0, None)


@pytest.mark.parametrize(
    "change",
    [
        "action = 'order.cancel'",
        "actor = 'user:y'",
        "db_user = 'app_read'",
        "epoch_us = epoch_us + 1",
        'detail = detail || \'{"price": "1.5"}\'',
        "prev_hash = sha256('x')",
        "hash = sha256('x')",
    ],
)
async def test_an_edit_is_found_at_its_row(superuser: asyncpg.Connection, change: str) -> None:
    update = f"UPDATE audit.audit_log SET {change} WHERE stream_id = 7 AND seq = 4"  # noqa: S608
    await tamper(superuser, update)
    assert await verify(superuser) == (LENGTH, 4)
    assert await why(superuser) == ("link" if "prev_hash" in change else "content")


async def test_an_edit_with_a_new_hash_is_found_at_the_next_row(
    superuser: asyncpg.Connection,
) -> None:
    await tamper(
        superuser,
        "UPDATE audit.audit_log SET action = 'x', hash = app.sp_audit_hash("
        "  prev_hash, stream_id, seq, epoch_us, app.sp_audit_names(actor, db_user, 'x'), detail)"
        " WHERE stream_id = 7 AND seq = 4",
    )
    assert await verify(superuser) == (LENGTH, 5)
    assert await why(superuser) == "link"


@pytest.mark.parametrize("seq", [1, 4, LENGTH])
async def test_a_deletion_is_found_at_the_missing_number(
    superuser: asyncpg.Connection, seq: int
) -> None:
    delete = f"DELETE FROM audit.audit_log WHERE stream_id = 7 AND seq = {seq}"  # noqa: S608
    await tamper(superuser, delete)
    assert await verify(superuser) == (LENGTH - 1, seq)
    assert await why(superuser) == "missing"


async def test_a_chain_that_was_emptied_is_found(superuser: asyncpg.Connection) -> None:
    await tamper(superuser, "TRUNCATE audit.audit_log")
    assert await verify(superuser) == (0, 1)


async def test_two_swapped_rows_are_found(superuser: asyncpg.Connection) -> None:
    await tamper(
        superuser,
        "UPDATE audit.audit_log SET seq = -seq WHERE stream_id = 7 AND seq IN (3, 4)",
        "UPDATE audit.audit_log SET seq = 7 + seq WHERE stream_id = 7 AND seq < 0",
    )
    assert await verify(superuser) == (LENGTH, 3)


async def test_an_append_past_the_head_is_found(superuser: asyncpg.Connection) -> None:
    await superuser.execute(
        "INSERT INTO audit.audit_log"
        " SELECT stream_id, seq + 1, epoch_us, actor, db_user, action, detail, hash,"
        "   app.sp_audit_hash(hash, stream_id, seq + 1, epoch_us,"
        "     app.sp_audit_names(actor, db_user, action), detail)"
        " FROM audit.audit_log WHERE stream_id = 7 AND seq = $1",
        LENGTH,
    )
    assert await verify(superuser) == (LENGTH + 1, LENGTH + 1)
    assert await why(superuser) == "extra"


async def test_a_row_before_the_first_is_found(superuser: asyncpg.Connection) -> None:
    await superuser.execute(
        "INSERT INTO audit.audit_log SELECT stream_id, 0, epoch_us, actor, db_user, action, detail,"
        " '', prev_hash FROM audit.audit_log WHERE stream_id = 7 AND seq = 1"
    )
    assert await verify(superuser) == (LENGTH + 1, 1)
    assert await why(superuser) == "extra"


async def test_a_head_that_was_moved_is_found(superuser: asyncpg.Connection) -> None:
    await superuser.execute("UPDATE app.streams SET head = sha256('x') WHERE stream_id = 7")
    assert await verify(superuser) == (LENGTH, LENGTH)
    assert await why(superuser) == "head"


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SELECT 1", (LENGTH, None)),
        ("UPDATE audit.audit_log SET action = 'x' WHERE stream_id = 7 AND seq = 4", (None, 4)),
        ("DELETE FROM audit.audit_log WHERE stream_id = 7 AND seq = 4", (None, 4)),
        ("DELETE FROM audit.audit_log WHERE stream_id = 7 AND seq BETWEEN 3 AND 5", (None, 3)),
        ("DELETE FROM audit.audit_log WHERE stream_id = 7 AND seq = 6", (None, 6)),
        ("DELETE FROM audit.audit_log WHERE stream_id = 7", (None, 1)),
        ("UPDATE app.streams SET seq = 4 WHERE stream_id = 7", (None, 5)),
        ("UPDATE app.streams SET head = '' WHERE stream_id = 7", (None, 6)),
        (
            "UPDATE app.streams AS s SET seq = 4, head = a.hash FROM audit.audit_log AS a"
            " WHERE s.stream_id = 7 AND a.stream_id = 7 AND a.seq = 4",
            (None, 5),
        ),
    ],
)
async def test_slices_find_what_the_whole_finds(
    superuser: asyncpg.Connection, rows: int, statement: str, found: tuple[int | None, int | None]
) -> None:
    await tamper(superuser, statement)
    _, whole = await verify(superuser)
    assert whole == found[1]
    # Its length as it was known a while ago, or not at all.
    for length in (0, 1, LENGTH):
        [report] = await verify_all([slices(superuser)], {7: length}, rows)
        assert report.broken_seq == found[1]
        assert found[0] is None or report.checked == found[0]


@pytest.mark.parametrize("text", ["plain", 'quo"te\\ back', "\b\f\n\r\t\x01\x7f", "ü\u2028😀", ""])
@pytest.mark.parametrize("detail", [{}, {"a": [1, "1.50", None, True, {"b": 1e30}]}, [1.10], "x"])
async def test_what_is_hashed_is_the_text_of_the_json_array(
    superuser: asyncpg.Connection, text: str, detail: object
) -> None:
    fields = (2**62, 1, -5, text, f"role {text}", text, json.dumps(detail))
    same = await superuser.fetchrow(
        "SELECT app.sp_audit_entry("
        "   $1, $2, $3, app.sp_audit_names($4, $5, $6), $7::text::jsonb) AS ours,"
        " jsonb_build_array($1::bigint, $2::bigint, $3::bigint, $4::text, $5::text, $6::text,"
        "   $7::text::jsonb)::text AS theirs",
        *fields,
    )
    assert same["ours"] == same["theirs"]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_superuser_in_replica_mode_changes_nothing(
    superuser: asyncpg.Connection, change: str
) -> None:
    await superuser.execute("SET session_replication_role = replica")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await superuser.execute(change)


@pytest.mark.parametrize("owner", ["audit_owner", "app_owner"])
@pytest.mark.parametrize("change", CHANGES)
async def test_the_owners_change_nothing(
    superuser: asyncpg.Connection, database: Database, owner: str, change: str
) -> None:
    migrate = await database.connect("app_migrate")
    await migrate.execute(f"SET ROLE {owner}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await migrate.execute(change)


async def test_the_owner_of_the_log_appends_nothing_by_hand(
    superuser: asyncpg.Connection, database: Database
) -> None:
    migrate = await database.connect("app_migrate")
    await migrate.execute("SET ROLE audit_owner")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await migrate.execute(
            "INSERT INTO audit.audit_log SELECT 9, seq, epoch_us, actor, db_user, action, detail,"
            " prev_hash, hash FROM audit.audit_log WHERE seq = 1"
        )


async def test_the_hash_can_be_repeated_outside_the_database(
    superuser: asyncpg.Connection,
) -> None:
    rows: Sequence[asyncpg.Record] = await superuser.fetch(
        "SELECT prev_hash, hash, jsonb_build_array("
        "  stream_id, seq, epoch_us, actor, db_user, action, detail)::text AS line"
        " FROM audit.audit_log WHERE stream_id = 7 ORDER BY seq"
    )
    head = b""
    for row in rows:
        assert row["prev_hash"] == head
        head = hashlib.sha256(head + row["line"].encode()).digest()
        assert row["hash"] == head


async def test_an_entry_names_the_login_role_that_wrote_it(database: Database) -> None:
    migrate = await database.connect("app_migrate")
    account_id = await make_account(migrate, {await make_user(migrate): True})
    superuser = await database.connect("postgres")
    rows = await superuser.fetch(
        "SELECT DISTINCT actor, db_user FROM audit.audit_log WHERE stream_id = $1", account_id
    )
    assert [tuple(row) for row in rows] == [("system:test", "app_migrate")]


async def test_an_append_that_is_rolled_back_leaves_no_gap(
    superuser: asyncpg.Connection,
) -> None:
    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute("SELECT app.sp_audit_append(7, 'user:x', 'nothing', '{}')")
    await transaction.rollback()
    assert await superuser.fetchval("SELECT app.sp_audit_append(7, 'u', 'a', '{}')") == LENGTH + 1
    assert await verify(superuser) == (LENGTH + 1, None)
