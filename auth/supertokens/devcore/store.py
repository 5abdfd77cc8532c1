"""The connection pool and the schema auth_dev; side effect: Postgres."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from devcore.settings import Refused, Settings

SCHEMA_LOCK = 73_101
NOT_YET = (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.InvalidCatalogNameError)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Store:
    """A pool of connections; every statement and every wait for one has a limit."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        async with self.pool.acquire(timeout=5) as connection, connection.transaction():
            yield connection

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        async with self.pool.acquire(timeout=5) as connection:
            return list(await connection.fetch(sql, *values))

    async def row(self, sql: str, *values: Any) -> Any:
        return next(iter(await self.rows(sql, *values)), None)


async def open_store(settings: Settings) -> Store:
    """Wait for the database, then lay the schema."""
    where = f"{settings.database_host}:{settings.database_port}/{settings.database_name}"
    deadline = time.monotonic() + settings.wait_s
    while True:
        try:
            store = Store(await _connected(settings))
            break
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise Refused(f"devcore: {where} refused the role core: {error}") from error
        except NOT_YET as error:
            if time.monotonic() > deadline:
                raise Refused(f"devcore: no database at {where}: {error!r}") from error
            logging.getLogger("devcore").warning("waiting for the database at %s: %r", where, error)
            await asyncio.sleep(0.5)
    async with store.transaction() as connection:
        if await connection.fetchval("SELECT to_regnamespace('auth_dev')") is None:
            raise Refused("devcore: the schema auth_dev is missing; run the bootstrap first.")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
        for name in ("schema.sql", "calls.sql"):
            await connection.execute(Path(__file__).with_name(name).read_text())
        await connection.execute("DELETE FROM auth_dev.sessions WHERE expires_at < $1", now_ms())
    return store


async def _connected(settings: Settings) -> asyncpg.Pool:
    async def speak_json(connection: asyncpg.Connection) -> None:
        codec = {"encoder": json.dumps, "decoder": json.loads, "schema": "pg_catalog"}
        await connection.set_type_codec("jsonb", **codec)

    address = {"host": settings.database_host, "port": settings.database_port}
    login = {"user": "core", "password": settings.core_password, "init": speak_json}
    limits = {"min_size": 1, "max_size": 6, "timeout": 5, "command_timeout": 5}
    return await asyncpg.create_pool(database=settings.database_name, **address, **login, **limits)
