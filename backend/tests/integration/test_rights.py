"""Who may do what: the whole list as a snapshot, and the attacks it has to stop."""

import difflib
import os

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_user

from app.admin.doctor_database import RIGHTS, RIGHTS_QUERY

REGENERATE = (
    "UPDATE_SNAPSHOTS=1 .venv/bin/pytest -c backend/pyproject.toml --rootdir=."
    " backend/tests/integration/test_rights.py"
)
HEADER = f"""\
# Every right in the database beyond what an owner has by himself; compared by test_rights.py.
# Read a change of this file as what it is: a change of who may do what. Written anew by
#   {REGENERATE}
"""

# A hypertable has no default partition; that is all the difference.
ONLY_WITHOUT_TIMESCALE = tuple(f"market.{table}_default:" for table in ("bars", "equity", "quotes"))

RUNTIME_ROLES = ("app_write", "app_worker", "app_read")
TABLES = (
    "app.orders",
    "app.users",
    "app.events_outbox",
    "app.streams",
    "app.risk_limits",
    "audit.audit_log",
    "security.token_keys",
    "security.revoked_sessions",
    "market.last_prices",
    "market.bars",
)
STATEMENTS = (
    "SELECT * FROM {table}",
    "INSERT INTO {table} DEFAULT VALUES",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "DROP TABLE {table}",
    "COPY {table} TO STDOUT",
)
ESCAPES = (
    "SET ROLE app_owner",
    "SET ROLE audit_owner",
    "SET ROLE app_migrate",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET session_replication_role = replica",
    "SET LOCAL backtrace_functions = 'x'",
    "CREATE TEMP TABLE t (i integer)",
    "CREATE TABLE public.t (i integer)",
    "CREATE TABLE app.t (i integer)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION public.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION pg_trgm",
    "DO $$ BEGIN NULL; END $$",
    "CREATE ROLE friend",
    "ALTER ROLE app_write SUPERUSER",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_create(0)",
    "SELECT lo_put(1, 0, 'x')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock(73001, 1)",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_notify('outbox_poke', '')",
    "SELECT pg_logical_emit_message(FALSE, 'a', 'b')",
    "SELECT pg_terminate_backend(pg_backend_pid())",
    "SELECT pg_cancel_backend(pg_backend_pid())",
    "SELECT pg_reload_conf()",
    "SELECT rolpassword FROM pg_authid",
    "SELECT * FROM auth_dev.users",
    "GRANT app_owner TO app_write",
    "SELECT app.sp_audit_append(0, 'user:me', 'nothing', '{}')",
    "SELECT app.sp_outbox_enqueue(1, 'order.place.v1', 1, '{}', 'r')",
    "SELECT app.sp_cash_book('me', 1, 'USD', 1000000, 'deposit', 'gift')",
    "SELECT app.sp_account_upsert('me', 'n', 'USD', 'ib', 'x', TRUE)",
    "SELECT app.sp_member_set('me', 1, gen_random_uuid(), TRUE)",
    "SELECT app.sp_risk_limits_set('me', 1, 1, 1, 0.1)",
    "SELECT market.drop_before('market.quotes', 'quote_at', now())",
    "SELECT security.token_user()",
    "SELECT security.token_accounts()",
)
# What no transaction may hold.
ESCAPES_ALONE = ("ALTER SYSTEM SET fsync = off", "CREATE DATABASE mine")


async def refused(connection: asyncpg.Connection, statement: str) -> bool:
    """Say whether a statement is refused for want of a right."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        # What advises an honest reader is the first thing an attacker switches off.
        await connection.execute("SET TRANSACTION READ WRITE")
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    finally:
        await transaction.rollback()
    return False


async def test_the_rights_are_those_of_the_snapshot(database: Database) -> None:
    connection = await database.connect("postgres")
    rows = await connection.fetch(RIGHTS_QUERY.read_text())
    found = HEADER + "".join(f"{row['line']}\n" for row in rows)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        RIGHTS.write_text(found)
    expected = RIGHTS.read_text()
    if await connection.fetchval("SELECT market.has_timescale()"):
        expected = without_partitions(expected)

    diff = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), "rights.snapshot.txt", "this database", "", "", 0
    )

    assert found == expected, "\n".join(
        ["the rights have changed:", *diff, "if that is meant:", REGENERATE]
    )


def without_partitions(snapshot: str) -> str:
    """Return the rights of a database that keeps its series in hypertables."""
    lines = snapshot.splitlines(keepends=True)
    kept = [line for line in lines if not any(it in line for it in ONLY_WITHOUT_TIMESCALE)]
    assert len(lines) - len(kept) == 2 * len(ONLY_WITHOUT_TIMESCALE)
    return "".join(kept)


async def test_the_snapshot_sees_a_single_new_right(database: Database) -> None:
    connection = await database.connect("postgres")
    query = RIGHTS_QUERY.read_text()
    before = {row["line"] for row in await connection.fetch(query)}

    await connection.execute("GRANT UPDATE (price) ON market.last_prices TO app_write")

    after = {row["line"] for row in await connection.fetch(query)}
    assert after - before == {"column market.last_prices.price: app_write may UPDATE"}


@pytest.mark.parametrize("role", RUNTIME_ROLES)
async def test_a_runtime_role_touches_no_table(database: Database, role: str) -> None:
    connection = await database.connect(role)
    statements = [s.format(table=table) for table in TABLES for s in STATEMENTS]
    passed = [s for s in statements if not await refused(connection, s)]
    assert passed == []


@pytest.mark.parametrize("role", RUNTIME_ROLES)
async def test_a_runtime_role_cannot_leave_its_place(database: Database, role: str) -> None:
    connection = await database.connect(role)
    passed = [s for s in ESCAPES if not await refused(connection, s)]
    assert passed == []
    await connection.execute("SET default_transaction_read_only = off")
    for statement in ESCAPES_ALONE:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


@pytest.mark.parametrize("role", RUNTIME_ROLES)
async def test_a_runtime_role_executes_no_routine_that_writes_the_catalog(
    database: Database, role: str
) -> None:
    connection = await database.connect("postgres")
    allowed = await connection.fetch(
        "SELECT oid::regprocedure::text AS name FROM pg_proc"
        " WHERE pronamespace = 'pg_catalog'::regnamespace"
        " AND proname ~ '^(lo_|loread|lowrite|pg_advisory_|pg_try_advisory_|pg_notify)'"
        " AND proname <> 'pg_advisory_unlock_all'"
        " AND has_function_privilege($1, oid, 'EXECUTE')",
        role,
    )
    assert allowed == []


async def test_no_role_but_the_procedures_reads_a_table_through_a_column_right(
    database: Database,
) -> None:
    connection = await database.connect("app_read")
    # The rights are there for the views; without USAGE on the schema no statement names the table.
    assert await refused(connection, "SELECT price FROM market.last_prices")
    assert await refused(connection, "SELECT order_id FROM app.orders")
    assert await refused(connection, "SELECT 'app.orders'::regclass")


async def test_the_worker_calls_nothing_of_the_api_and_the_api_nothing_of_the_worker(
    database: Database,
) -> None:
    connection = await database.connect("postgres")
    both = await connection.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'app'::regnamespace"
        " AND has_function_privilege('app_write', oid, 'EXECUTE')"
        " AND has_function_privilege('app_worker', oid, 'EXECUTE')"
    )
    assert {row["proname"] for row in both} == {"sp_schema_revision"}


async def test_app_migrate_inherits_nothing_and_must_become_the_owner(database: Database) -> None:
    connection = await database.connect("app_migrate")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("SELECT FROM app.orders")
    await connection.execute("SET ROLE app_owner")
    await connection.execute("SELECT FROM app.orders")


async def test_the_core_sees_its_own_schema_alone(database: Database) -> None:
    connection = await database.connect("core")
    await connection.execute("CREATE TABLE auth_dev.t (i integer); DROP TABLE auth_dev.t")
    for statement in ("SELECT FROM app.users", "SELECT app.sp_last_prices()"):
        assert await refused(connection, statement)


@pytest.mark.parametrize("role", ["app_write", "app_worker", "app_read", "core", "app_migrate"])
async def test_a_role_does_not_get_in_without_its_password(database: Database, role: str) -> None:
    for password in ("", role, "postgres"):
        with pytest.raises(
            (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError)
        ):
            await asyncpg.connect(
                host=database.host,
                port=database.port,
                database=database.name,
                user=role,
                password=password or None,
                passfile="/nonexistent",
                timeout=10,
            )


async def test_a_reader_that_holds_a_snapshot_too_long_is_ended(database: Database) -> None:
    connection = await database.connect("app_read")
    settings = await connection.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY ($1)",
        [
            "statement_timeout",
            "idle_in_transaction_session_timeout",
            "default_transaction_read_only",
        ],
    )
    assert {row["name"]: row["setting"] for row in settings} == {
        "statement_timeout": "10000",
        "idle_in_transaction_session_timeout": "15000",
        "default_transaction_read_only": "on",
    }


async def test_the_server_promises_that_a_commit_is_on_disk(database: Database) -> None:
    connection = await database.connect("app_write")
    names = ["fsync", "synchronous_commit", "full_page_writes", "data_checksums", "jit", "TimeZone"]
    rows = await connection.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY ($1)", names
    )
    assert {row["name"]: row["setting"] for row in rows} == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "jit": "off",
        "TimeZone": "UTC",
    }


async def test_a_trader_cannot_book_cash_through_the_api_role(
    database: Database,
) -> None:
    migrate = await database.connect("app_migrate")
    user_id = await make_user(migrate, "trader")
    account_id = await make_account(migrate, {user_id: True})
    write = await database.connect("app_write")
    for statement in (
        f"SELECT app.sp_cash_book('user:x', {account_id}, 'USD', 1, 'deposit', 'x')",
        f"SELECT app.sp_lock_account({account_id})",
    ):
        assert await refused(write, statement)
