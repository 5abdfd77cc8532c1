"""Series as hypertables: what they are, who reaches them, and the answers of plain partitions."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import pytest
from fixtures_postgres import Cluster, Database, make_account, make_instrument
from read_tokens import read, sign

from app.services.database_setup import REPOSITORY_DIR, bootstrap, migrate
from native import postgres

SERIES = {"bars": timedelta(days=3650), "equity": timedelta(days=30), "quotes": timedelta(days=1)}
ENABLE = "db/postgres/timeseries/enable_timescaledb.sql"
NAMESPACE = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")
PLAIN = "informania_plain"

# What is in the database, and what the screen draws of it; [account] stands for the accounts.
ROWS = (
    "SELECT * FROM market.bars ORDER BY instrument_id, bar_at",
    "SELECT * FROM market.quotes ORDER BY instrument_id, quote_at",
    "SELECT * FROM market.equity ORDER BY account_id, currency, equity_at",
)
ANSWERS = (
    "SELECT * FROM reporting.equity_curve($1, $2, $3, 50)",
    "SELECT * FROM reporting.equity_curve($1, $2, $3, 1500)",
    "SELECT * FROM reporting.daily_pnl($1, $2::timestamptz::date, $3::timestamptz::date)",
    "SELECT * FROM reporting.equity_history WHERE account_id = ANY ($1)"
    " AND equity_at BETWEEN $2 AND $3 ORDER BY account_id, equity_at",
    "SELECT $1::bigint[] IS NULL, b.* FROM reporting.bars_between('AAPL', $2, $3, 100) AS b",
    "SELECT $1::bigint[] IS NULL, q.* FROM reporting.quotes AS q"
    " WHERE q.quote_at BETWEEN $2 AND $3 ORDER BY q.quote_at",
)
# What a role may call, or read, of what the extension made.
CALLABLE = """
    SELECT count(*)
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname ~ '^(_timescaledb_|timescaledb_|timescale$)'
      AND has_function_privilege($1, p.oid, 'EXECUTE')
"""
READABLE = """
    SELECT c.oid::regclass::text
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname ~ '^(_timescaledb_|timescaledb_|timescale$)'
      AND c.relkind IN ('r', 'v', 'S')
      AND (
          has_table_privilege($1, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
          OR (c.relkind <> 'S' AND has_any_column_privilege($1, c.oid, 'SELECT'))
      )
"""


@pytest.fixture(scope="module")
def plain_template(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same database on the same server, made as where there is no TimescaleDB."""
    sources = tmp_path_factory.mktemp("sources")
    shutil.copytree(REPOSITORY_DIR / "db", sources / "db")
    shutil.copytree(REPOSITORY_DIR / "backend/alembic", sources / "backend/alembic")
    shutil.copy(REPOSITORY_DIR / "backend/pyproject.toml", sources / "backend")
    (sources / ENABLE).write_text("SELECT 1")
    settings = cluster.settings(PLAIN).model_copy(update={"repository_dir": sources})
    bootstrap(settings)
    migrate(settings)
    yield
    cluster.drop_database(PLAIN)


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[Database]:
    """Close the connections of a database at the end."""
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def plain(cluster: Cluster, plain_template: None) -> AsyncIterator[Database]:
    """A copy of the database without TimescaleDB."""
    async with opened(Database(cluster, PLAIN)) as database:
        yield database


async def test_the_series_are_hypertables(database: Database) -> None:
    connection = await database.connect("postgres")
    rows = await connection.fetch(
        "SELECT hypertable_name, time_interval FROM timescaledb_information.dimensions"
        " WHERE hypertable_schema = 'market'"
    )
    assert {row["hypertable_name"]: row["time_interval"] for row in rows} == SERIES
    assert await connection.fetchval("SELECT market.has_timescale()")
    assert not await connection.fetchval("SELECT market.is_partitioned('market.bars')")


async def test_nothing_is_asked_for_that_row_security_excludes(database: Database) -> None:
    # No compression, no aggregate, no job of ours: not of the Apache edition either.
    connection = await database.connect("postgres")
    compressed = "SELECT bool_or(compression_enabled) FROM timescaledb_information.hypertables"
    assert await connection.fetchval(compressed) is False
    jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE hypertable_schema = 'market'"
    assert await connection.fetchval(jobs) == 0
    assert await connection.fetchval("SHOW timescaledb.max_background_workers") == "0"
    with pytest.raises(asyncpg.PostgresError) as refused:
        await connection.execute("ALTER TABLE market.quotes SET (timescaledb.compress)")
    assert refused.value.sqlstate == "0A000"


async def fill(database: Database, now: datetime) -> tuple[UUID, list[int]]:
    """Write the same history into a database; return a member and the accounts."""
    root, migrator = await database.connect("postgres"), await database.connect("app_migrate")
    member = uuid5(NAMESPACE, "member")
    await migrator.execute(
        "SELECT app.sp_user_upsert('system:test', $1, 'a@b.cd', 'trader', FALSE)", member
    )
    await make_instrument(migrator, "AAPL")
    accounts = [
        await make_account(migrator, {member: True}, broker_account=name, cash=None)
        for name in ("one", "two")
    ]
    for put in (bars(now, "10"), bars(now, "10"), bars(now, "11")[:20]):
        await migrator.fetchval("SELECT app.sp_bars_put('replay', $1)", json.dumps(put))
    await root.execute(
        "INSERT INTO market.quotes SELECT 1, $1::timestamptz - g * interval '3 hours', 10 + g % 7,"
        " 'replay' FROM generate_series(0, 120) AS g",
        now,
    )
    await root.execute(
        "INSERT INTO market.equity SELECT a, $1::timestamptz - g * interval '1 min', 'USD',"
        " 1000 + a, (g * 37) % 101 FROM generate_series(1, 24000) AS g,"
        " unnest($2::bigint[]) AS a WHERE g % 7 <> a % 7",
        now,
        accounts,
    )
    return member, accounts


def bars(now: datetime, close: str) -> list[dict[str, str]]:
    """Return four years of days."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    prices = {"open": "10", "high": "20", "low": "5", "close": close, "volume": "1"}
    days = (midnight - timedelta(days=day) for day in range(1500))
    named = {"symbol": "AAPL", "resolution": "1d"}
    return [{**named, "bar_at": day.isoformat(), **prices} for day in days]


async def everything(database: Database, member: UUID, accounts: list[int], now: datetime) -> Any:
    """Return the rows of the series, and all answers that a member gets."""
    root = await database.connect("postgres")
    token = sign(database.settings.secret("db_token_key"), member)
    rows = [[tuple(row) for row in await root.fetch(query)] for query in ROWS]
    spans = [now - timedelta(days=days) for days in (400, 9, 2)]
    answers = [
        [tuple(row) for row in await read(database, token, query, accounts, since, now)]
        for query in ANSWERS
        for since in spans
    ]
    return rows, answers


async def test_the_same_rows_give_the_same_answers_with_and_without_timescale(
    database: Database, plain: Database
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    found = []
    for each in (database, plain):
        member, accounts = await fill(each, now)
        before = await everything(each, member, accounts, now)
        migrator = await each.connect("app_migrate")
        dropped = await migrator.fetchval("SELECT app.sp_housekeep('5 days', '5 days', '5 days')")
        again = await migrator.fetchval("SELECT app.sp_housekeep('5 days', '5 days', '5 days')")
        after = await everything(each, member, accounts, now)
        found.append((before, after, again))
        assert all(before[0]), "a series is empty"
        assert all(before[1]), "an answer is empty"
        assert len(after[0][1]) < len(before[0][1])
        assert len(after[0][2]) < len(before[0][2])
        # Plain rows of the past lie in the default partition, from which rows are deleted.
        assert dropped > 0 or each is plain
    assert found[0] == found[1]


@pytest.mark.parametrize("role", ["app_read", "app_write", "app_worker"])
async def test_no_role_reaches_a_chunk_or_a_function_of_timescale(
    database: Database, role: str
) -> None:
    await fill(database, datetime.now(UTC))
    root = await database.connect("postgres")
    chunks = await root.fetch(
        "SELECT chunk::text FROM timescale.show_chunks('market.equity') chunk"
    )
    functions = await root.fetchval(CALLABLE, role)
    relations = await root.fetch(READABLE, role)
    connection = await database.connect(role)
    for name in (chunks[0]["chunk"], "_timescaledb_catalog.hypertable"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"SELECT 1 FROM {name}")  # noqa: S608
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("SELECT timescale.drop_chunks('market.equity', now())")
    assert (functions, relations) == (0, [])


async def test_row_security_holds_through_the_views(database: Database) -> None:
    now = datetime.now(UTC)
    _, accounts = await fill(database, now)
    stranger = uuid5(NAMESPACE, "stranger")
    migrator = await database.connect("app_migrate")
    await migrator.execute(
        "SELECT app.sp_user_upsert('system:test', $1, 'b@b.cd', 'trader', FALSE)", stranger
    )
    token = sign(database.settings.secret("db_token_key"), stranger)
    query = "SELECT FROM reporting.equity_history WHERE account_id = ANY ($1)"
    assert await read(database, token, query, accounts) == []


def test_an_extension_elsewhere_is_named_and_not_used(cluster: Cluster) -> None:
    settings = cluster.settings("test_elsewhere")
    with settings.connect("postgres", "postgres") as connection:
        connection.execute("CREATE DATABASE test_elsewhere TEMPLATE template0")
    with settings.connect("postgres") as connection:
        connection.execute("CREATE EXTENSION timescaledb")
    try:
        with pytest.raises(Exception, match="let bootstrap make the database"):
            bootstrap(settings)
    finally:
        cluster.drop_database("test_elsewhere")


async def test_a_dump_can_be_restored(cluster: Cluster, database: Database, tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    member, accounts = await fill(database, now)
    before = await everything(database, member, accounts, now)
    await database.close()
    dump = tmp_path / "dump"
    client(database, "pg_dump", "--format=custom", f"--file={dump}", database.name)

    restored = Database(cluster, f"{database.name}_restored")
    with database.settings.connect("postgres", "postgres") as connection:
        connection.execute(f"CREATE DATABASE {restored.name} TEMPLATE template0".encode())
        restoring = f"ALTER DATABASE {restored.name} SET timescaledb.restoring = 'on'"
        connection.execute(restoring.encode())
    client(database, "pg_restore", "--no-password", f"--dbname={restored.name}", str(dump))
    with restored.settings.connect("postgres") as connection:
        connection.execute("SELECT timescale.timescaledb_post_restore()")
    bootstrap(restored.settings)
    async with opened(restored):
        assert await everything(restored, member, accounts, now) == before
    cluster.drop_database(restored.name)


def client(database: Database, program: str, *arguments: str) -> None:
    """Run one of Postgres's own programs as superuser."""
    password = database.cluster.password("postgres")
    done = subprocess.run(
        [postgres.find_binaries() / program, *arguments],
        env={
            "PGHOST": database.host,
            "PGPORT": str(database.port),
            "PGUSER": "postgres",
            "PGPASSWORD": password,
            "HOME": "/nonexistent",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
