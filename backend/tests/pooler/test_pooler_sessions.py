"""Through PgBouncer: one session of Postgres serves strangers in turn, and tells neither."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import psycopg
import pytest
from fixtures_core import eventually
from fixtures_postgres import Database, make_account, make_user
from poolers import RunningPooler, chosen_pooler, running_pooler
from read_tokens import sign

ROUNDS = 50
WAIT_S = 1
REFUSED = r"password authentication failed|SASL"


@pytest.fixture
def narrow(database: Database, tmp_path: Path) -> Iterator[RunningPooler]:
    """A pooler that has a single session for all its clients."""
    settings = {"default_pool_size": 1, "query_wait_timeout": WAIT_S}
    secrets_dir = database.cluster.secrets_dir
    with running_pooler(tmp_path, secrets_dir, database.port, **settings) as pooler:
        yield pooler


@dataclass(frozen=True)
class Reader:
    """A client of the pooler, the account it may see, and the token that says so."""

    connection: asyncpg.Connection
    account_id: int
    token: str

    async def read(self) -> tuple[set[int], int, str]:
        """Read as the screen does; return the accounts seen, the session, and what it held."""
        async with self.connection.transaction(readonly=True):
            found = "SELECT coalesce(current_setting('app.user_token', TRUE), '')"
            before = await self.connection.fetchval(found)
            set_token = "SELECT set_config('app.user_token', $1, TRUE)"
            await self.connection.execute(set_token, self.token)
            rows = await self.connection.fetch("SELECT account_id FROM reporting.accounts")
            session = await self.connection.fetchval("SELECT pg_backend_pid()")
        return {row["account_id"] for row in rows}, session, before


@pytest.fixture
async def readers(database: Database, narrow: RunningPooler) -> AsyncIterator[list[Reader]]:
    """Two traders with an account each, both on the one session."""
    migrate = await database.connect("app_migrate")
    key = database.settings.secret("db_token_key")
    made = []
    for _ in range(2):
        user_id: UUID = await make_user(migrate)
        account_id = await make_account(migrate, {user_id: True})
        connection = await connect(database, narrow, "app_read")
        made.append(Reader(connection, account_id, sign(key, user_id)))
    yield made
    for reader in made:
        await reader.connection.close(timeout=5)


async def connect(database: Database, pooler: RunningPooler, role: str) -> asyncpg.Connection:
    """Open a client of a pooler."""
    return await asyncpg.connect(dsn(database, pooler, role), timeout=10)


def dsn(database: Database, pooler: RunningPooler, role: str) -> str:
    password = database.cluster.password(role)
    return f"postgresql://{role}:{password}@{database.host}:{pooler.port}/{database.name}"


async def test_two_users_on_one_session_see_only_their_own_rows(readers: list[Reader]) -> None:
    async def read_often(reader: Reader) -> list[tuple[set[int], int, str]]:
        return [await reader.read() for _ in range(ROUNDS)]

    both = await asyncio.gather(*(read_often(reader) for reader in readers))

    for reader, answers in zip(readers, both, strict=True):
        assert [seen for seen, _, _ in answers] == [{reader.account_id}] * ROUNDS
        assert {before for _, _, before in answers} == {""}
    assert len({session for answers in both for _, session, _ in answers}) == 1


async def test_what_is_set_for_longer_than_a_transaction_reaches_the_next_user(
    readers: list[Reader],
) -> None:
    # Why nothing of ours does it: this is the leak that the tests above would see.
    alice, bob = readers
    set_for_long = "SELECT set_config('app.user_token', $1, FALSE)"
    await alice.connection.execute(set_for_long, alice.token)
    assert (await bob.read())[2] == alice.token


async def test_prepared_statements_of_two_clients_do_not_meet(
    database: Database, narrow: RunningPooler
) -> None:
    clients = [await connect(database, narrow, "app_read") for _ in range(2)]
    try:
        # Both drivers number their statements, so the same name means another one in each.
        for number, client in enumerate(clients):
            for _ in range(ROUNDS):
                assert await client.fetchval(f"SELECT {number} + $1::integer", 10) == 10 + number
    finally:
        for client in clients:
            await client.close(timeout=5)


def test_psycopg_keeps_its_statements_and_its_time_zone(
    database: Database, narrow: RunningPooler
) -> None:
    options = "-c TimeZone=Asia/Tokyo"
    address = dsn(database, narrow, "app_read")
    with (
        psycopg.connect(address, options=options, connect_timeout=10) as tokyo,
        psycopg.connect(address, connect_timeout=10) as plain,
    ):
        for _ in range(ROUNDS):
            for connection, zone in ((tokyo, "Asia/Tokyo"), (plain, "UTC")):
                row = connection.execute("SELECT current_setting('TimeZone'), %s", [1]).fetchone()
                connection.commit()
                assert row == (zone, 1)


async def test_who_waits_too_long_for_the_session_is_refused(
    database: Database, narrow: RunningPooler
) -> None:
    holder = await connect(database, narrow, "app_write")
    other = await connect(database, narrow, "app_write")
    try:
        async with holder.transaction():
            await holder.execute("SELECT 1")
            with pytest.raises(asyncpg.PostgresError) as refused:
                await other.execute("SELECT 1", timeout=WAIT_S + 5)
        # Class 08, which the API answers with 503.
        assert str(refused.value.sqlstate).startswith("08")

        async def logged() -> bool:
            return "query_wait_timeout" in narrow.log.read_text()

        # It comes out of the container a moment later.
        await eventually(logged)
    finally:
        await holder.close(timeout=5)
        other.terminate()


@pytest.mark.parametrize("role", ["app_worker", "app_migrate", "core", "postgres"])
async def test_a_role_that_holds_sessions_does_not_come_through(
    database: Database, narrow: RunningPooler, role: str
) -> None:
    with pytest.raises(asyncpg.PostgresError, match=REFUSED):
        await connect(database, narrow, role)


@pytest.mark.parametrize("role", ["app_write", "app_read"])
async def test_a_wrong_password_does_not_come_through(
    database: Database, narrow: RunningPooler, role: str
) -> None:
    password = database.cluster.password(role)
    wrong = dsn(database, narrow, role).replace(password, "wrong")
    with pytest.raises(asyncpg.PostgresError, match=REFUSED):
        await asyncpg.connect(wrong, timeout=10)


@pytest.mark.parametrize("role", ["app_write", "app_read"])
async def test_nobody_reaches_the_console(
    database: Database, narrow: RunningPooler, role: str
) -> None:
    console = dsn(database, narrow, role).rpartition("/")[0] + "/pgbouncer"
    with pytest.raises((asyncpg.PostgresError, ConnectionError)):
        await asyncpg.connect(console, timeout=10)


async def test_a_role_never_takes_more_sessions_than_the_shipped_limit(
    database: Database, tmp_path: Path
) -> None:
    with running_pooler(tmp_path, database.cluster.secrets_dir, database.port) as pooler:
        clients = [await connect(database, pooler, "app_read") for _ in range(20)]
        naps = [client.execute("SELECT pg_sleep(0.3)") for client in clients]
        busy = asyncio.gather(*naps)
        superuser = await database.connect("postgres")
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_read'"
        most = 0
        while not busy.done():
            most = max(most, await superuser.fetchval(query))
            await asyncio.sleep(0.02)
        await busy
        for client in clients:
            await client.close(timeout=5)
    assert most == 7


def test_the_pooler_is_new_enough() -> None:
    pooler = chosen_pooler()
    assert pooler is not None
    version = pooler.version().split()[1]
    assert tuple(map(int, version.split("."))) >= (1, 21)
