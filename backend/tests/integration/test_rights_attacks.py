"""What somebody does who has stolen a runtime role's password and speaks SQL as it."""

import re

import asyncpg
import pytest
from fixtures_postgres import Database

from app.services import database_setup

RUNTIME_ROLES = ("app_write", "app_worker", "app_read")
every_role = pytest.mark.parametrize("role", RUNTIME_ROLES)
SCHEMAS = ("app", "audit", "market", "reporting", "security", "public", "pg_catalog", "pg_temp")

REFUSED = (
    *(f"CREATE TABLE {schema}.t (i integer)" for schema in SCHEMAS),
    *(f"CREATE VIEW {schema}.v AS SELECT 1" for schema in SCHEMAS),
    "ALTER TABLE app.orders OWNER TO CURRENT_USER",
    "ALTER FUNCTION app.sp_order_status(uuid, text, text) OWNER TO CURRENT_USER",
    "ALTER FUNCTION app.sp_order_status(uuid, text, text) RESET ALL",
    "ALTER FUNCTION app.sp_order_status(uuid, text, text) SECURITY INVOKER",
    "ALTER SCHEMA app OWNER TO CURRENT_USER",
    "REASSIGN OWNED BY app_owner TO CURRENT_USER",
    "DROP OWNED BY app_owner",
    "DROP SCHEMA reporting CASCADE",
    "CREATE POLICY mine ON app.orders USING (TRUE)",
    "DROP POLICY token_accounts ON app.orders",
    "CREATE TRIGGER t BEFORE INSERT ON app.orders EXECUTE FUNCTION audit.refuse_change()",
    "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION audit.refuse_change()",
    "CREATE RULE r AS ON INSERT TO app.orders DO INSTEAD NOTHING",
    "CREATE PUBLICATION p FOR ALL TABLES",
    "CREATE FOREIGN DATA WRAPPER f",
    "LOCK TABLE app.streams",
    "COPY app.orders FROM '/etc/passwd'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "LOAD 'plpgsql'",
    "SET session_replication_role = replica",
    "SET log_statement = 'none'",
    "SELECT set_config('backtrace_functions', 'x', TRUE)",
    "ALTER ROLE CURRENT_USER SET backtrace_functions = 'x'",
    "SET session_preload_libraries = 'x'",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT 1000",
    "ALTER ROLE app_owner LOGIN PASSWORD 'x'",
    "ALTER ROLE postgres PASSWORD 'x'",
    "ALTER ROLE app_migrate SET search_path = public",
    "ALTER DATABASE postgres SET search_path = public",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "SELECT lo_export(1, '/tmp/x')",
    "SELECT lo_open(1, 131072)",
    "SELECT pg_read_binary_file('global/pg_control')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT pg_ls_waldir()",
    "SELECT pg_switch_wal()",
    "SELECT pg_create_restore_point('x')",
    "SELECT pg_stat_reset()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_create_physical_replication_slot('x')",
    "SELECT pg_advisory_lock_shared(1)",
    "SELECT pg_try_advisory_xact_lock(1)",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT * FROM pg_file_settings",
    "SELECT subconninfo FROM pg_subscription",
)
TIMEOUTS = {
    "app_write": {"statement_timeout": 5000, "lock_timeout": 3000},
    "app_worker": {"statement_timeout": 15_000, "lock_timeout": 5000},
    "app_read": {"statement_timeout": 10_000, "lock_timeout": 2000},
}
IDLE = {"app_write": 10_000, "app_worker": 15_000, "app_read": 15_000}
# In the database's own words, none of which lets anything through.
KINDS = (
    asyncpg.InsufficientPrivilegeError,
    # A temporary or catalog schema takes nothing from anybody but their owners.
    asyncpg.InvalidTableDefinitionError,
)


@every_role
async def test_a_stolen_role_takes_nothing_over(database: Database, role: str) -> None:
    connection = await database.connect(role)
    passed = []
    for statement in REFUSED:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SET TRANSACTION READ WRITE")
            await connection.execute(statement)
            passed.append(statement)
        except KINDS:
            pass
        except asyncpg.PostgresError as error:
            passed.append(f"{statement}: {error.sqlstate} {error}")
        finally:
            await transaction.rollback()
    assert passed == []


@every_role
async def test_a_stolen_role_creates_in_no_schema(database: Database, role: str) -> None:
    superuser = await database.connect("postgres")
    assert (
        await superuser.fetch(
            "SELECT nspname FROM pg_namespace WHERE has_schema_privilege($1, oid, 'CREATE')", role
        )
        == []
    )
    for right in ("CREATE", "TEMPORARY"):
        assert not await superuser.fetchval(
            "SELECT has_database_privilege($1, current_database(), $2)", role, right
        )


@every_role
async def test_switching_row_security_off_shows_nothing_more(database: Database, role: str) -> None:
    connection = await database.connect(role)
    await connection.execute("SET row_security = off")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("SELECT * FROM reporting.orders")


@every_role
async def test_the_statements_of_others_are_hidden(database: Database, role: str) -> None:
    superuser = await database.connect("postgres")
    other = await database.connect("app_migrate")
    await other.fetch("SELECT 'a secret of mine'")
    query = "SELECT query FROM pg_stat_activity WHERE usename = 'app_migrate'"
    assert any("a secret of mine" in row[0] for row in await superuser.fetch(query))
    connection = await database.connect(role)
    assert {row[0] for row in await connection.fetch(query)} == {"<insufficient privilege>"}


@every_role
async def test_a_role_is_bounded_in_time(database: Database, role: str) -> None:
    connection = await database.connect(role)
    bounds = {**TIMEOUTS[role], "idle_in_transaction_session_timeout": IDLE[role]}
    for name, milliseconds in bounds.items():
        query = "SELECT setting::integer FROM pg_settings WHERE name = $1"
        assert await connection.fetchval(query, name) == milliseconds, name
    limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = $1"
    assert 0 < await connection.fetchval(limit, role) <= 35


async def test_a_statement_over_its_time_is_ended(database: Database) -> None:
    connection = await database.connect("app_write")
    with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
        await connection.execute("SELECT pg_sleep(30)", timeout=20)


async def test_every_procedure_that_lends_its_rights_pins_its_search_path(
    database: Database,
) -> None:
    superuser = await database.connect("postgres")
    loose = await superuser.fetch(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p"
        " JOIN pg_namespace AS n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('app', 'audit', 'market', 'security', 'reporting') AND p.prosecdef"
        " AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']"
    )
    assert loose == []


async def test_a_search_path_of_ones_own_changes_no_procedure(database: Database) -> None:
    superuser = await database.connect("postgres")
    # The worst case: somebody with more rights left a trap where the attacker's path leads.
    await superuser.execute(
        "CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC;"
        "CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'trapped'; END $$;"
        "CREATE FUNCTION trap.sha256(bytea) RETURNS bytea LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'trapped'; END $$"
    )
    write = await database.connect("app_write")
    await write.execute("SET search_path = trap, pg_catalog")
    with pytest.raises(asyncpg.RaiseError, match="trapped"):
        await write.execute("SELECT clock_timestamp()")
    await write.execute(
        "SELECT app.sp_user_upsert('system:test', gen_random_uuid(), 'a@b.c', 'viewer', FALSE)"
    )


async def test_no_argument_becomes_a_statement(database: Database) -> None:
    superuser = await database.connect("postgres")
    rows = await superuser.fetch(
        "SELECT p.proname, pg_get_functiondef(p.oid) AS source,"
        "  has_function_privilege('app_write', p.oid, 'EXECUTE')"
        "  OR has_function_privilege('app_worker', p.oid, 'EXECUTE')"
        "  OR has_function_privilege('app_read', p.oid, 'EXECUTE') AS open"
        " FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('app', 'market', 'security', 'reporting')"
        " AND p.prosrc ~* '\\mEXECUTE\\M'"
    )
    # Those of partitions put names of our own into statements, quoted, and nobody calls them.
    assert not [row["proname"] for row in rows if row["open"]]
    for row in rows:
        for statement in re.findall(r"\bEXECUTE\s+(\S+)", row["source"]):
            assert statement.startswith("format("), (row["proname"], statement)


@every_role
async def test_what_a_role_changed_of_itself_ends_with_the_next_bootstrap(
    database: Database, role: str
) -> None:
    connection = await database.connect(role)
    # Postgres lets each role change its own password and defaults; nothing can be revoked.
    await connection.execute("SET default_transaction_read_only = off")
    try:
        await connection.execute(f"ALTER ROLE {role} SET work_mem = '1GB'")
        await connection.execute(f"ALTER ROLE {role} SET statement_timeout = 0")
        await connection.execute(
            f'ALTER ROLE {role} IN DATABASE "{database.name}" SET statement_timeout = 0'
        )
        await connection.execute(f"ALTER ROLE {role} PASSWORD 'mine'")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(
                host=database.host, port=database.port, database=database.name, user=role,
                password=database.cluster.password(role), timeout=10,
            )  # fmt: skip
    finally:
        # The cluster outlives this test.
        database_setup.bootstrap(database.settings)

    again = await database.connect(role)
    query = "SELECT setting::integer FROM pg_settings WHERE name = $1"
    timeout = TIMEOUTS[role]["statement_timeout"]
    assert await again.fetchval(query, "statement_timeout") == timeout
    assert await again.fetchval(query, "work_mem") < 1024 * 1024
