"""What a token shows is kept for a moment of a session: for that token alone, and no longer."""

import hashlib

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_user
from read_tokens import sign

KEPT = "SELECT current_setting('backtrace_functions')"
ACCOUNTS = "SELECT array_agg(account_id ORDER BY 1) FROM reporting.accounts"


async def show(connection: asyncpg.Connection, token: str) -> list[int]:
    """Return the accounts that a token shows, asked on a connection of app_read."""
    await connection.execute("SELECT set_config('app.user_token', $1, TRUE)", token)
    return await connection.fetchval(ACCOUNTS) or []


class Desk:
    """Two traders with an account each, an administrator, and their tokens."""

    def __init__(self, database: Database) -> None:
        self.key = database.settings.secret("db_token_key")

    async def fill(self, migrate: asyncpg.Connection) -> "Desk":
        self.alice, self.bob = await make_user(migrate), await make_user(migrate)
        self.admin = await make_user(migrate, "admin")
        self.hers = await make_account(migrate, {self.alice: True})
        self.his = await make_account(migrate, {self.bob: True})
        return self


@pytest.fixture
async def desk(database: Database) -> Desk:
    return await Desk(database).fill(await database.connect("app_migrate"))


@pytest.fixture
async def reader(database: Database) -> asyncpg.Connection:
    return await database.connect("app_read")


async def test_two_tokens_of_one_transaction_show_each_its_own(
    desk: Desk, reader: asyncpg.Connection
) -> None:
    alice, bob, admin = (sign(desk.key, it) for it in (desk.alice, desk.bob, desk.admin))
    async with reader.transaction():
        for _ in range(2):
            assert await show(reader, alice) == [desk.hers]
            assert await show(reader, bob) == [desk.his]
            assert await show(reader, admin) == [desk.hers, desk.his]
            for nobody in ("", alice[:-1], f"{alice[:-64]}{bob[-64:]}", alice.replace("-", " ")):
                assert await show(reader, nobody) == []
        assert await show(reader, alice) == [desk.hers]


async def test_the_next_transaction_shows_what_its_own_token_does(
    desk: Desk, reader: asyncpg.Connection
) -> None:
    alice, bob = sign(desk.key, desk.alice), sign(desk.key, desk.bob)
    async with reader.transaction():
        assert await show(reader, alice) == [desk.hers]
    for token, shown in (("", []), (bob, [desk.his]), (alice[:-1], []), (alice, [desk.hers])):
        async with reader.transaction():
            assert await show(reader, token) == shown
    async with reader.transaction():
        assert await reader.fetchval(ACCOUNTS) is None


async def test_the_next_transaction_within_the_second_asks_nothing_anew(
    desk: Desk, reader: asyncpg.Connection
) -> None:
    alice = sign(desk.key, desk.alice)

    async def shown() -> str:
        async with reader.transaction():
            assert await show(reader, alice) == [desk.hers]
            kept: str = await reader.fetchval(KEPT)
            return kept

    # A busy machine may take more than the second.
    assert any([await shown() == await shown() for _ in range(20)])


async def test_what_is_kept_tells_whoever_has_the_session_next_no_token(
    desk: Desk, reader: asyncpg.Connection
) -> None:
    token = sign(desk.key, desk.alice)
    async with reader.transaction():
        assert await show(reader, token) == [desk.hers]
    digest, until, accounts = (await reader.fetchval(KEPT)).split("\n")
    assert digest == hashlib.sha256(token.encode()).hexdigest()
    assert (until.isdigit(), accounts) == (True, str(desk.hers))
    for nobody in (digest, "\n".join((digest, until, accounts))):
        async with reader.transaction():
            assert await show(reader, nobody) == []


async def test_what_is_rolled_back_shows_no_more(desk: Desk, reader: asyncpg.Connection) -> None:
    alice, bob = sign(desk.key, desk.alice), sign(desk.key, desk.bob)
    async with reader.transaction():
        assert await show(reader, alice) == [desk.hers]
        inner = reader.transaction()
        await inner.start()
        assert await show(reader, bob) == [desk.his]
        await inner.rollback()
        assert await reader.fetchval(ACCOUNTS) == [desk.hers]


async def test_who_is_thrown_out_sees_nothing_after_a_second(
    desk: Desk, database: Database, reader: asyncpg.Connection
) -> None:
    alice, superuser = sign(desk.key, desk.alice), await database.connect("postgres")
    async with reader.transaction():
        assert await show(reader, alice) == [desk.hers]
        await superuser.execute("UPDATE app.users SET disabled = TRUE")
        # The clock of the keeping server.
        await superuser.execute("SELECT pg_sleep(1.01)")
        assert await reader.fetchval(ACCOUNTS) is None
    async with reader.transaction():
        assert await show(reader, alice) == []


async def test_who_is_thrown_out_between_transactions_sees_nothing_after_a_second(
    desk: Desk, database: Database, reader: asyncpg.Connection
) -> None:
    alice, superuser = sign(desk.key, desk.alice), await database.connect("postgres")
    async with reader.transaction():
        assert await show(reader, alice) == [desk.hers]
    await superuser.execute("DELETE FROM app.account_members")
    await superuser.execute("SELECT pg_sleep(1.01)")
    async with reader.transaction():
        assert await show(reader, alice) == []


async def test_a_token_that_ends_within_the_second_shows_nothing_then(
    desk: Desk, database: Database, reader: asyncpg.Connection
) -> None:
    token, superuser = sign(desk.key, desk.alice, valid_s=2), await database.connect("postgres")
    until = int(token.split(".")[2])
    async with reader.transaction():
        # Kept shortly before its end.
        await superuser.execute("SELECT pg_sleep_until(to_timestamp($1 - 0.4::float8))", until)
        assert await show(reader, token) == [desk.hers]
        await superuser.execute("SELECT pg_sleep_until(to_timestamp($1 + 0.01::float8))", until)
        assert await reader.fetchval(ACCOUNTS) is None


@pytest.mark.parametrize("token", ["", "forged"])
async def test_a_reader_cannot_say_what_was_kept(
    desk: Desk, database: Database, token: str
) -> None:
    forged = f"{token}\n99999999999999\n{desk.hers}"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(
            database.dsn("app_read"), timeout=10, server_settings={"backtrace_functions": forged}
        )
    reader = await database.connect("app_read")
    for statement in (
        f"SET backtrace_functions = '{forged}'",
        f"SET SESSION backtrace_functions = '{forged}'",
        f"SELECT set_config('backtrace_functions', '{forged}', FALSE)",
        f"UPDATE pg_settings SET setting = '{forged}' WHERE name ~ '^backtrace'",  # noqa: S608
        f"ALTER ROLE app_read SET backtrace_functions = '{forged}'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(f"BEGIN READ WRITE; {statement}")
        await reader.execute("ROLLBACK")
    async with reader.transaction():
        assert await show(reader, token) == []


async def test_a_plan_of_several_processes_shows_the_same(
    desk: Desk, reader: asyncpg.Connection
) -> None:
    newer = reader.get_server_version().major >= 16
    name = "debug_parallel_query" if newer else "force_parallel_mode"
    async with reader.transaction():
        await reader.execute(f"SET LOCAL {name} = on")
        token = sign(desk.key, desk.alice)
        for _ in range(2):
            assert await show(reader, token) == [desk.hers]
            assert await reader.fetchval("SELECT count(*) FROM generate_series(1, 10)") == 10
