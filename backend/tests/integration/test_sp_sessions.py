"""Whose a session is: nobody's once it is revoked or its user is disabled."""

from uuid import uuid4

import asyncpg
from fixtures_postgres import Database, make_user
from sp_calls import ACTOR, audited, code_of, migrate, write

__all__ = ["migrate", "write"]

SESSIONS_CHECK = "SELECT * FROM app.sp_sessions_check($1, $2)"


async def test_a_revoked_session_is_nobodys_at_once(
    write: asyncpg.Connection, migrate: asyncpg.Connection, database: Database
) -> None:
    user_id = await make_user(migrate, "trader")
    check = "SELECT role FROM app.sp_session_check($1, $2)"
    assert await write.fetchval(check, user_id, "s1") == "trader"

    for _ in range(2):
        await write.execute("SELECT app.sp_session_revoked($1, $2, 's1')", ACTOR, user_id)

    assert await write.fetchval(check, user_id, "s1") is None
    assert await write.fetchval(check, user_id, "s2") == "trader"
    assert await write.fetchval(check, uuid4(), "s2") is None
    assert (await audited(database, 0)).count("session.revoke") == 1
    stranger = uuid4()
    rows = await write.fetch(
        SESSIONS_CHECK, ["s1", "s2", "s2", "s2"], [user_id, user_id, user_id, stranger]
    )
    assert {(row["session_handle"], row["user_id"]): row["role"] for row in rows} == {
        ("s1", user_id): None,
        ("s2", user_id): "trader",
        ("s2", stranger): None,
    }


async def test_a_disabled_user_has_no_session(
    write: asyncpg.Connection, migrate: asyncpg.Connection
) -> None:
    user_id = await make_user(migrate, "trader")
    upsert = "SELECT app.sp_user_upsert('x', $1, 'a@x.org', 'trader', TRUE)"
    await migrate.execute(upsert, user_id)
    assert await write.fetch("SELECT * FROM app.sp_session_check($1, 's')", user_id) == []
    (row,) = await write.fetch(SESSIONS_CHECK, ["s"], [user_id])
    assert row["role"] is None


async def test_a_question_about_too_many_sessions_is_refused(write: asyncpg.Connection) -> None:
    for handles, users in (
        (["s"] * 10_001, [uuid4()] * 10_001),
        (["s", "t"], [uuid4()]),
        (None, None),
        (["s"], None),
    ):
        refusal = await code_of(write, SESSIONS_CHECK, handles, users)
        assert refusal == ("IN422", "handles_invalid")
