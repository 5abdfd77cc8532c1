"""Migrations: repeatable, concurrent, all or nothing, and true to the mapped tables."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import alembic.command
import psycopg
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import Script
from fixtures_postgres import Cluster, Database
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import TypeEngine

from app.models import orm
from app.services.database_setup import (
    REPOSITORY_DIR,
    SetupError,
    SetupSettings,
    alembic_config,
    bootstrap,
    migrate,
    repeatable_files,
)

FINGERPRINT = """
    SELECT string_agg(line, E'\n' ORDER BY line) FROM (
        SELECT format('%s %s %s', c.oid::regclass, a.attname, format_type(a.atttypid, -1))
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace::regnamespace::text IN ('app', 'audit', 'market', 'security')
          AND a.attnum > 0
        UNION ALL
        SELECT format('%s %s', p.oid::regprocedure, md5(p.prosrc)) FROM pg_proc AS p
        WHERE p.pronamespace::regnamespace::text IN ('app', 'audit', 'market', 'security')
        UNION ALL
        SELECT format('%s %s', p.polname, p.polrelid::regclass) FROM pg_policy AS p
    ) AS lines (line)
"""


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[SetupSettings]:
    """A database that was bootstrapped and holds no table yet."""
    settings = cluster.settings("test_empty")
    bootstrap(settings)
    yield settings
    cluster.drop_database(settings.database_name)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the SQL sources and revisions, free to be changed."""
    shutil.copytree(REPOSITORY_DIR / "db", tmp_path / "db")
    shutil.copytree(REPOSITORY_DIR / "backend/alembic", tmp_path / "backend/alembic")
    shutil.copy(REPOSITORY_DIR / "backend/pyproject.toml", tmp_path / "backend")
    return tmp_path


def one(settings: SetupSettings, query: str) -> Any:
    """Return the only value that a query answers, asked as superuser."""
    with settings.connect("postgres") as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def moved(settings: SetupSettings, sources: Path) -> SetupSettings:
    """Return the settings with other SQL sources."""
    return settings.model_copy(update={"repository_dir": sources})


def test_an_upgrade_can_be_repeated(database: Database) -> None:
    before = one(database.settings, FINGERPRINT)
    applied_at = one(database.settings, "SELECT max(applied_at) FROM app.repeatable")

    migrate(database.settings)

    assert one(database.settings, FINGERPRINT) == before
    assert one(database.settings, "SELECT max(applied_at) FROM app.repeatable") == applied_at


def test_a_bootstrap_can_be_repeated_on_a_database_in_use(database: Database) -> None:
    before = one(database.settings, FINGERPRINT)
    bootstrap(database.settings)
    migrate(database.settings)
    assert one(database.settings, FINGERPRINT) == before


def test_two_concurrent_upgrades_both_succeed(empty: SetupSettings, database: Database) -> None:
    # Alembic keeps its context in globals, so each upgrade is a process of its own.
    with ThreadPoolExecutor() as pool:
        exit_codes = list(pool.map(lambda _: migrate_in_process(empty), range(2)))
    assert exit_codes == [0, 0]
    assert one(empty, FINGERPRINT) == one(database.settings, FINGERPRINT)


def test_a_failing_file_leaves_nothing_behind(empty: SetupSettings, sources: Path) -> None:
    broken = sources / "db/postgres/security/grants.sql"
    broken.write_text(
        broken.read_text() + "\nGRANT EXECUTE ON FUNCTION app.nothing() TO app_write;"
    )

    with pytest.raises(SetupError, match=r"grants\.sql.*app\.nothing"):
        migrate(moved(empty, sources))

    assert one(empty, "SELECT count(*) FROM pg_class WHERE relnamespace = 'app'::regnamespace") == 0


def test_a_changed_procedure_is_laid_anew_and_its_grants_with_it(
    database: Database, sources: Path
) -> None:
    procedure = sources / "db/postgres/procedures/sp_schema_revision.sql"
    changed = procedure.read_text().replace(
        "SELECT v.version_num", "SELECT 'laid ' || v.version_num"
    )
    procedure.write_text(changed)

    migrate(moved(database.settings, sources))

    with psycopg.connect(database.dsn("app_write")) as connection:
        row = connection.execute("SELECT app.sp_schema_revision()").fetchone()
    assert row is not None
    assert row[0].startswith("laid 2026")


def test_a_database_of_older_table_files_is_told_the_remedy(database: Database) -> None:
    with database.settings.connect("postgres") as connection:
        connection.execute("DROP TYPE app.order_item CASCADE")
        connection.execute("DELETE FROM app.repeatable")
    done = subprocess.run(
        [sys.executable, "-m", "app.services.database_setup", "migrate"],
        env={
            "PATH": os.environ["PATH"],
            "SECRETS_DIR": str(database.cluster.secrets_dir),
            "DATABASE_PORT": str(database.port),
            "DATABASE_NAME": database.name,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("migrate failed: db/postgres/procedures/")
    assert "make clean, make up" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_repeatable_file_is_recorded(database: Database) -> None:
    with database.settings.connect("postgres") as connection:
        rows = connection.execute("SELECT path FROM app.repeatable").fetchall()
    assert {path for (path,) in rows} == set(repeatable_files(database.settings))


def test_a_released_table_file_that_changed_is_refused(empty: SetupSettings, sources: Path) -> None:
    name = "db/postgres/schemas/00_base.sql"
    (sources / "db/migrations/frozen.sha256").write_text(f"{'0' * 64}  {name}\n")

    with pytest.raises(SetupError, match="was released and must not change"):
        migrate(moved(empty, sources))


def of_another_type(
    _context: object, _found: object, _mapped: object, found: TypeEngine[Any], mapped: Any
) -> bool | None:
    """Compare a domain by what it is made of; None leaves other types to the library."""
    if not isinstance(found, DOMAIN):
        return None
    return found.data_type._type_affinity is not mapped._type_affinity


def test_the_mapped_tables_are_the_tables_of_the_database(database: Database) -> None:
    engine = sqlalchemy.create_engine(
        database.settings.url("postgres"), poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        partitions = set(
            connection.execute(
                sqlalchemy.text("SELECT relname FROM pg_class WHERE relispartition")
            ).scalars()
        )
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name in SCHEMAS,
            "include_object": lambda _, name, kind, *__: (
                kind != "table" or name not in (*partitions, "alembic_version")
            ),
            "compare_type": of_another_type,
        }
        context = MigrationContext.configure(connection, opts=options)
        drift = compare_metadata(context, orm.User.metadata)
    assert drift == [], "\n".join(map(str, drift))


SCHEMAS = ("app", "audit", "market", "security")


def migrate_in_process(settings: SetupSettings) -> int:
    """Run the command as a user does; return its exit code."""
    command = [sys.executable, "-m", "app.services.database_setup", "migrate"]
    environ = {
        "DATABASE_HOST": settings.database_host,
        "DATABASE_PORT": str(settings.database_port),
        "DATABASE_NAME": settings.database_name,
        "SECRETS_DIR": str(settings.secrets_dir),
    }
    return subprocess.run(command, env=environ, check=False, timeout=60).returncode


@pytest.mark.parametrize("command", ["bootstrap", "migrate"])
def test_a_missing_setting_is_named_without_a_traceback(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.services.database_setup", command],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{command} failed: the environment is not complete: SECRETS_DIR")
    assert "Traceback" not in done.stderr


def test_a_new_revision_is_named_as_its_file(database: Database, sources: Path) -> None:
    config = alembic_config(moved(database.settings, sources))
    script = alembic.command.revision(config, "orders get a color, and a very long story about it")
    assert isinstance(script, Script)
    assert script.revision == Path(script.path).stem
    assert len(script.revision) <= 32
