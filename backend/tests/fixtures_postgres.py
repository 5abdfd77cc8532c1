"""Gives tests a real Postgres: one cluster a run, one fresh migrated database a test."""

import itertools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from poolers import POOLED_ROLES, chosen_pooler, running_pooler
from postgres_servers import LOOPBACK, chosen_image, running_postgres
from psycopg import sql

from app.services import database_setup
from app.services.database_setup import SetupSettings

ROLES = ("postgres", "app_migrate", "app_write", "app_worker", "app_read", "core")
SECRETS = (
    *(f"{role}_password" for role in ROLES),
    *("db_token_key", "webhook_hmac", "proxy_secret", "core_api_key", "worker_token", "qc_token"),
    *("streamlit_cookie", "anchor_key"),
)
# Largest quantity and notional of an order, and its price collar.
DEFAULT_LIMITS = (Decimal(10_000), Decimal(50_000), Decimal("0.10"))

TEMPLATE = "informania_template"
FOLDER_PREFIX = "informania-pg-"


def pytest_report_header() -> list[str]:
    """Say which server the tests run on when it is not this machine's own."""
    image, pooler = chosen_image(), chosen_pooler()
    return [
        *([f"Postgres: image {image}"] if image else []),
        *([f"pooler: {pooler.version()}"] if pooler else []),
    ]


_names = (f"test_{number}" for number in itertools.count(1))


@dataclass(frozen=True)
class Cluster:
    """A running server with the migrated template."""

    port: int
    secrets_dir: Path
    # Where the roles of the pooler come in, when the run has one.
    pooler_port: int | None = None
    host: str = LOOPBACK

    def port_for(self, role: str) -> int:
        """Return where a role comes in: the pooler or the server itself."""
        pooled = self.pooler_port is not None and role in POOLED_ROLES
        return self.pooler_port if pooled and self.pooler_port else self.port

    def settings(self, database: str) -> SetupSettings:
        """Return what the one-shots need to reach a database of this cluster."""
        return SetupSettings(
            database_host=self.host,
            database_port=self.port,
            database_name=database,
            secrets_dir=self.secrets_dir,
        )

    def password(self, role: str) -> str:
        """Return the password of a role."""
        return self.settings(TEMPLATE).secret(f"{role}_password")

    def create_database(self, name: str, template: str = TEMPLATE) -> None:
        """Copy a database with the rights that a copy does not take over."""
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        with self.settings("postgres").connect("postgres") as connection:
            connection.execute(copy.format(sql.Identifier(name), sql.Identifier(template)))
        database_setup.secure_database(self.settings(name))

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with self.settings("postgres").connect("postgres") as connection:
            connection.execute(drop)


@dataclass(frozen=True)
class Database:
    """A fresh copy of the migrated template."""

    cluster: Cluster
    name: str
    connections: list[asyncpg.Connection] = field(default_factory=list)

    @property
    def host(self) -> str:
        """The address of the server."""
        return self.cluster.host

    @property
    def port(self) -> int:
        """The port of the server itself."""
        return self.cluster.port

    def port_for(self, role: str) -> int:
        """Return where a role comes in: the pooler or the server itself."""
        return self.cluster.port_for(role)

    @property
    def settings(self) -> SetupSettings:
        """What the one-shots need to reach this database."""
        return self.cluster.settings(self.name)

    def dsn(self, role: str) -> str:
        """Return the address of this database for a role, with its password."""
        password = self.cluster.password(role)
        port = self.port_for(role)
        return f"postgresql://{role}:{password}@{self.host}:{port}/{self.name}"

    async def connect(self, role: str) -> asyncpg.Connection:
        """Open a connection as a role; the fixture closes it."""
        connection = await asyncpg.connect(self.dsn(role), timeout=10)
        self.connections.append(connection)
        return connection

    async def close(self) -> None:
        """Close what was opened."""
        for connection in self.connections:
            await connection.close(timeout=5)


async def make_user(connection: asyncpg.Connection, role: str = "trader") -> UUID:
    """Make a user as app_migrate; return its id."""
    user_id = uuid4()
    email = f"{role}-{user_id.hex[:12]}@test.informania.dev"
    query = "SELECT app.sp_user_upsert('system:test', $1, $2, $3, FALSE)"
    await connection.execute(query, user_id, email, role)
    return user_id


async def make_account(
    connection: asyncpg.Connection,
    members: Mapping[UUID, bool] | None = None,
    *,
    broker_account: str | None = None,
    cash: Decimal | None = Decimal(100_000),
    limits: tuple[Decimal, Decimal, Decimal] | None = DEFAULT_LIMITS,
) -> int:
    """Make an account with members (user -> can trade), limits and cash; return its id."""
    broker_account = broker_account or str(secrets.randbelow(10**9))
    account_id: int = await connection.fetchval(
        "SELECT app.sp_account_upsert('system:test', $1, 'USD', 'quantconnect', $2, TRUE)",
        f"Account {broker_account}",
        broker_account,
    )
    for user_id, can_trade in (members or {}).items():
        query = "SELECT app.sp_member_set('system:test', $1, $2, $3)"
        await connection.execute(query, account_id, user_id, can_trade)
    if limits is not None:
        query = "SELECT app.sp_risk_limits_set('system:test', $1, $2, $3, $4)"
        await connection.execute(query, account_id, *limits)
    if cash is not None:
        query = "SELECT app.sp_cash_book('system:test', $1, 'USD', $2, 'opening', 'opening')"
        await connection.execute(query, account_id, cash)
    return account_id


async def make_instrument(
    connection: asyncpg.Connection,
    symbol: str = "AAPL",
    *,
    tick_size: Decimal = Decimal("0.01"),
    lot_size: Decimal = Decimal(1),
    tradable: bool = True,
    currency: str = "USD",
    multiplier: Decimal = Decimal(1),
) -> int:
    """Make or change an instrument; return its id."""
    query = "SELECT app.sp_instrument_upsert('system:test', $1, $1, $2, $3, $4, $5, $6)"
    instrument_id: int = await connection.fetchval(
        query, symbol, currency, tick_size, lot_size, tradable, multiplier
    )
    return instrument_id


async def set_price(
    connection: asyncpg.Connection, symbol: str, price: Decimal | str, *, source: str = "replay"
) -> None:
    """Make a price the last one of an instrument, as of now."""
    quote = {"symbol": symbol, "price": str(price), "at": datetime.now(UTC).isoformat()}
    query = "SELECT app.sp_record_quotes($1, $2::jsonb)"
    written = await connection.fetchval(query, source, json.dumps([{**quote, "reset": True}]))
    assert written == 1, f"no instrument {symbol}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server of this run alone, with the shipped settings; it ends with the run."""
    with running_cluster() as cluster:
        yield cluster


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Run a server with the migrated template until the end of the block."""
    _remove_left_overs()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=_base_folder()))
    try:
        secrets_dir = _make_secrets(folder / "secrets")
        with running_postgres(folder, secrets_dir / "postgres_password") as port:
            cluster = Cluster(port, secrets_dir)
            database_setup.bootstrap(cluster.settings(TEMPLATE))
            database_setup.migrate(cluster.settings(TEMPLATE))
            if chosen_pooler():
                with running_pooler(folder, secrets_dir, port) as pooler:
                    yield replace(cluster, pooler_port=pooler.port)
            else:
                yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def secrets_dir(cluster: Cluster) -> Path:
    """The folder of all secret files of the cluster."""
    return cluster.secrets_dir


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[Database]:
    """A database of this test alone."""
    database = Database(cluster, next(_names))
    cluster.create_database(database.name)
    try:
        yield database
    finally:
        await database.close()
        cluster.drop_database(database.name)


def _base_folder() -> str | None:
    # In memory, where writing to disk costs nothing although the shipped settings insist on it.
    memory = Path("/dev/shm")  # noqa: S108 (made anew, for us alone)
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None


def _remove_left_overs() -> None:
    """Remove the folders of runs that were killed."""
    base = Path(_base_folder() or tempfile.gettempdir())
    for folder in base.glob(f"{FOLDER_PREFIX}*"):
        pid = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _make_secrets(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    for name in SECRETS:
        (folder / name).write_text(secrets.token_hex(32))
        (folder / name).chmod(0o600)
    return folder
