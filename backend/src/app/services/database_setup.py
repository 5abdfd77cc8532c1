"""Prepares a database: `bootstrap` as superuser, the rest as app_migrate."""

import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import alembic.command
import alembic.config
import alembic.util
import psycopg
import sqlalchemy
from psycopg import sql
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

import app
from app.core.settings import is_placeholder
from app.core.token_keys import key_id_of

PACKAGE_DIR = Path(app.__file__).resolve().parent
REPOSITORY_DIR = Path(__file__).resolve().parents[4]

LOGIN_ROLES = ("app_migrate", "app_write", "app_worker", "app_read", "core")
FROZEN_LIST = "db/migrations/frozen.sha256"

# Two upgrades at a time wait for each other under this number; statements wait far less.
UPGRADE_LOCK = 73_000
UPGRADE_WAIT_S = 120
LOCK_TIMEOUT_S = 5
CONNECT_TIMEOUT_S = 10
SERVER_WAIT_S = 30

# Table files are edited in place until a release is tagged (db/migrations/README.md).
OLDER_DATABASE = (
    "\nThe database may have been made by older table files. Nothing was changed. Keep what you"
    " need of it with pg_dump, then make it anew: make clean, make up."
)


class SetupError(Exception):
    """The database cannot be prepared; the message says why and what to do."""


EXPECTED = (
    SetupError,
    psycopg.Error,
    sqlalchemy.exc.SQLAlchemyError,
    alembic.util.CommandError,
)


class SetupSettings(BaseSettings):
    """What the one-shots need: an address and the folder of the passwords, no other secret."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    # Nobody said where this is: then it is where nothing is tolerated.
    app_env: Literal["dev", "test", "production"] = "production"
    database_host: str = "127.0.0.1"
    database_port: int = Field(default=5433, gt=0, lt=65536)
    database_name: str = "informania"
    secrets_dir: Path
    repository_dir: Path = REPOSITORY_DIR

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment; `overrides` win."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            names = (str(e["loc"][0]).upper() + ": " + e["msg"] for e in error.errors())
            raise SetupError(f"the environment is not complete: {'; '.join(names)}") from error

    def secret(self, name: str) -> str:
        """Return a secret from its file."""
        path = self.secrets_dir / name
        try:
            value = path.read_text().strip()
        except OSError as error:
            raise SetupError(f"secret {name} cannot be read: {path}: {error.strerror}") from error
        if not value:
            raise SetupError(f"secret {name} is empty: {path}")
        if self.app_env == "production" and is_placeholder(value):
            raise SetupError(f"secret {name} holds a placeholder, which production refuses: {path}")
        return value

    def path(self, name: str) -> Path:
        """Return where a file of the SQL sources lies: in our package or in the repository."""
        if name.startswith("app/"):
            return PACKAGE_DIR / name.removeprefix("app/")
        return self.repository_dir / name

    def connect(self, role: str, database: str | None = None) -> psycopg.Connection:
        """Open a connection in autocommit mode."""
        return psycopg.connect(
            host=self.database_host,
            port=self.database_port,
            dbname=database or self.database_name,
            user=role,
            password=self.secret(f"{role}_password"),
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="informania-setup",
            autocommit=True,
        )

    def url(self, role: str) -> sqlalchemy.URL:
        """Return SQLAlchemy's address of the database for a role."""
        return sqlalchemy.URL.create(
            "postgresql+psycopg",
            username=role,
            password=self.secret(f"{role}_password"),
            host=self.database_host,
            port=self.database_port,
            database=self.database_name,
        )


# --- bootstrap ------------------------------------------------------------------------------


def bootstrap(settings: SetupSettings) -> None:
    """Make roles, passwords, database, schemas and token key; safe to repeat."""
    with _wait_for_server(settings) as connection:
        execute_script(connection, _read(settings, "db/postgres/security/roles.sql"))
        for role in LOGIN_ROLES:
            _set_password(connection, role, settings.secret(f"{role}_password"))
        _create_database(connection, settings.database_name)
    secure_database(settings)


def secure_database(settings: SetupSettings) -> None:
    """Lay what a single database needs of a superuser."""
    with settings.connect("postgres") as connection:
        execute_script(connection, _read(settings, "db/postgres/security/database.sql"))
        timescale = _read(settings, "db/postgres/timeseries/enable_timescaledb.sql")
        execute_script(connection, timescale)


def _wait_for_server(settings: SetupSettings) -> psycopg.Connection:
    deadline = time.monotonic() + SERVER_WAIT_S
    while True:
        try:
            return settings.connect("postgres", "postgres")
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline or "password" in str(error):
                raise SetupError(f"Postgres does not let us in: {error}") from error
            time.sleep(0.2)


def _set_password(connection: psycopg.Connection, role: str, password: str) -> None:
    # The verifier is made here, so no password can end in a server log.
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    )
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier.decode())))


def _create_database(connection: psycopg.Connection, name: str) -> None:
    query = "SELECT FROM pg_catalog.pg_database WHERE datname = %s"
    if connection.execute(query, [name]).fetchone() is None:
        # Images of TimescaleDB put the extension into template1, where it lands in another schema.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        connection.execute(create)


# --- migrate --------------------------------------------------------------------------------


def migrate(settings: SetupSettings, revision: str = "head") -> None:
    """Bring the database to a revision and lay what is repeatable, in one transaction."""
    alembic.command.upgrade(alembic_config(settings), revision)
    load_token_key(settings)


def alembic_config(settings: SetupSettings) -> alembic.config.Config:
    """Return Alembic's configuration, with our settings for env.py."""
    backend = settings.repository_dir / "backend"
    config = alembic.config.Config(toml_file=backend / "pyproject.toml")
    config.set_main_option("script_location", str(backend / "alembic"))
    config.attributes["settings"] = settings
    return config


def begin_upgrade(connection: sqlalchemy.Connection) -> None:
    """Wait for a concurrent upgrade, then act as the owner of the tables."""
    run_script(connection, f"SET LOCAL lock_timeout = '{UPGRADE_WAIT_S}s'")
    run_script(connection, f"SELECT pg_catalog.pg_advisory_xact_lock({UPGRADE_LOCK})")
    run_script(connection, f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    run_script(connection, "SET LOCAL statement_timeout = 0")
    run_script(connection, "SET LOCAL ROLE app_owner")


def run_files(
    connection: sqlalchemy.Connection, settings: SetupSettings, files: Iterable[tuple[str, str]]
) -> None:
    """Run SQL files, each as the role that is to own what it makes."""
    frozen = frozen_files(settings)
    for role, name in files:
        text = _read(settings, name)
        if frozen.get(name, checksum(text)) != checksum(text):
            raise SetupError(
                f"{name} was released and must not change: put the change into a new file under"
                " db/migrations and a new revision"
            )
        run_script(connection, f"SET LOCAL ROLE {role}")
        run_script(connection, text)
        run_script(connection, "SET LOCAL ROLE app_owner")


def frozen_files(settings: SetupSettings) -> dict[str, str]:
    """Return the checksum of each released table file, by name."""
    lines = _read(settings, FROZEN_LIST).splitlines()
    pairs = (line.split() for line in lines if line.strip() and not line.startswith("#"))
    return {name: digest for digest, name in pairs}


def repeatable_files(settings: SetupSettings) -> list[str]:
    """Return the files that define what has no data, in the order in which they are laid."""
    folder = settings.repository_dir / "db/postgres/procedures"
    procedures = sorted(f"db/postgres/procedures/{path.name}" for path in folder.glob("*.sql"))
    return [
        *procedures,
        "db/postgres/security/token.sql",
        "db/postgres/schemas/20_reporting.sql",
        "db/postgres/schemas/20_reporting_money.sql",
        "db/postgres/schemas/21_reporting_days.sql",
        "db/postgres/schemas/21_reporting_series.sql",
        "db/postgres/schemas/22_reporting_orders.sql",
        "db/postgres/schemas/23_reporting_lots.sql",
        "db/postgres/schemas/23_reporting_risk.sql",
        "db/postgres/schemas/24_reporting_results.sql",
        "db/postgres/schemas/24_reporting_spans.sql",
        "db/postgres/schemas/25_reporting_operations.sql",
        "db/postgres/security/rls_policies.sql",
        "db/postgres/security/grants.sql",
    ]


def lay_repeatables(connection: sqlalchemy.Connection, settings: SetupSettings) -> bool:
    """Lay all repeatable files when one of them changed; return whether that was so.

    All of them, because views that are rebuilt lose their grants.
    """
    texts = {name: _read(settings, name) for name in repeatable_files(settings)}
    wanted = {name: checksum(text) for name, text in texts.items()}
    rows = connection.exec_driver_sql("SELECT path, sha256 FROM app.repeatable")
    if wanted == {row.path: row.sha256 for row in rows}:
        return False
    # Routines call each other in both directions; their bodies are checked by the tests.
    run_script(connection, "SET LOCAL check_function_bodies = off")
    for name, text in texts.items():
        _lay(connection, name, text)
    connection.exec_driver_sql("DELETE FROM app.repeatable")
    for name, digest in wanted.items():
        insert = "INSERT INTO app.repeatable (path, sha256) VALUES (%s, %s)"
        connection.exec_driver_sql(insert, (name, digest))
    return True


def _lay(connection: sqlalchemy.Connection, name: str, text: str) -> None:
    try:
        run_script(connection, text)
    except psycopg.Error as error:
        # Class 42 names what is not there.
        remedy = OLDER_DATABASE if (error.sqlstate or "").startswith("42") else ""
        raise SetupError(f"{name}: {error}{remedy}") from error
    run_script(connection, "SET LOCAL ROLE app_owner")


def load_token_key(settings: SetupSettings) -> None:
    """Let the database believe the key of the read tokens, beside those it believes already."""
    key = settings.secret("db_token_key")
    with settings.connect("app_migrate") as connection:
        connection.execute(
            "SELECT app.sp_token_key_set('system:migrate', %s, %s, %s)",
            [key_id_of(key), *hmac_blocks(key.encode())],
        )


def retire_token_keys(settings: SetupSettings) -> None:
    """Let the database believe the key of this installation's secrets alone."""
    key_id = key_id_of(settings.secret("db_token_key"))
    with settings.connect("app_migrate") as connection:
        connection.execute("SELECT app.sp_token_keys_retire('system:migrate', %s)", [key_id])


def hmac_blocks(key: bytes) -> tuple[bytes, bytes]:
    """Return the key padded to 64 bytes, xored with ipad and opad."""
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    padded = key.ljust(64, b"\0")
    return bytes(b ^ 0x36 for b in padded), bytes(b ^ 0x5C for b in padded)


# --- SQL files ------------------------------------------------------------------------------


def checksum(text: str) -> str:
    """Return the sha256 of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _read(settings: SetupSettings, name: str) -> str:
    path = settings.path(name)
    try:
        return path.read_text()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}") from error


def run_script(connection: sqlalchemy.Connection, text: str) -> None:
    """Run statements as they are written: through the driver, which parses nothing."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise SetupError("migrations need the psycopg driver")
    execute_script(driver, text)


def execute_script(connection: psycopg.Connection, text: str) -> None:
    """Run a file of statements."""
    with connection.cursor() as cursor:
        cursor.execute(text.encode())


def main(arguments: Sequence[str]) -> int:
    """Run one of the commands; return the exit code."""
    commands = {
        "bootstrap": bootstrap,
        "migrate": migrate,
        "retire-token-keys": retire_token_keys,
    }
    if len(arguments) != 1 or arguments[0] not in commands:
        names = "|".join(commands)
        sys.stderr.write(f"usage: python -m app.services.database_setup {names}\n")
        return 2
    try:
        commands[arguments[0]](SetupSettings.load())
    except EXPECTED as error:
        sys.stderr.write(f"{arguments[0]} failed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    # Migrations import this module by its name, and raise the errors of that one.
    from app.services import database_setup  # noqa: PLW0406

    sys.exit(database_setup.main(sys.argv[1:]))
