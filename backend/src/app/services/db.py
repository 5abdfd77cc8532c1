"""The pool of connections to Postgres; side effect: Postgres.

One SQLAlchemy AsyncEngine owns the connections; procedures are called on the driver's own
connection, which is about twice as quick as going through SQLAlchemy's statements. Nothing here
waits without a time-out, and what cannot be had in time is a 503 with Retry-After.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import asyncpg
from sqlalchemy import URL, PoolProxiedConnection, event
from sqlalchemy import exc as sqlalchemy_errors
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from app.core.errors import (
    AppError,
    DatabaseBusy,
    DatabaseContention,
    DatabaseUnavailable,
    Unavailable,
)
from app.core.logging import get_logger
from app.core.settings import Settings
from app.services.poke import OUTBOX, Channel, Poker

log = get_logger(__name__)

# The newest revision of backend/alembic; an API that finds another one is not ready.
SCHEMA_REVISION = "20260109_timeseries"

DatabaseRole = Literal["app_write", "app_worker"]
CONTENTION = {"40001", "40P01", "55P03"}
# Connection trouble, no resources (a full disk too), operator intervention, not (yet) set up.
UNAVAILABLE_CLASSES = ("08", "53", "57", "58", "28", "3D")
STALE_PLANS = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
CONNECTION_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    # What SQLAlchemy makes of a connection that asyncpg did not get.
    sqlalchemy_errors.EmulatedDBAPIException,
)


def create_engine(settings: Settings, role: DatabaseRole) -> AsyncEngine:
    """Make the engine of one role; connections are opened when they are first needed."""
    engine = create_async_engine(
        URL.create(
            "postgresql+asyncpg",
            username=role,
            password=settings.secret(f"{role}_password"),
            host=settings.database_host,
            port=settings.database_port,
            database=settings.database_name,
        ),
        # One more than asked for: the poke's own connection.
        pool_size=settings.database_pool_size + 1,
        max_overflow=0,
        pool_timeout=settings.database_acquire_timeout_s,
        pool_recycle=1800,
        # We leave no session state behind, so nothing has to be reset.
        pool_reset_on_return=None,
        hide_parameters=True,
        connect_args={
            "timeout": settings.database_connect_timeout_s,
            "command_timeout": settings.database_command_timeout_s,
            "server_settings": {"application_name": f"informania-{role}"},
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    # After a restart of Postgres every idle connection is dead: drop them all at once.
    if dbapi_connection.driver_connection.is_closed():
        raise sqlalchemy_errors.InvalidatePoolError


class Database:
    """Transactions on the pool, and the poke that wakes the worker."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._poker = Poker(self._driver_connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection in a READ COMMITTED transaction that commits at the end."""
        async with (
            self._driver_connection() as connection,
            translated(),
            connection.transaction(isolation="read_committed"),
        ):
            yield connection

    @asynccontextmanager
    async def single_statement(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection on which a statement is a transaction of its own.

        One procedure call needs one round trip then, not three; READ COMMITTED is the server's
        default, and every writing procedure insists on it.
        """
        async with self._driver_connection() as connection, translated():
            yield connection

    def notify_poke(self, channel: Channel = OUTBOX) -> None:
        """Wake the worker; many calls within one round trip become one notification."""
        self._poker.poke(channel)

    async def close(self) -> None:
        """End the poke and close every connection."""
        await self._poker.close()
        await self.engine.dispose()

    @asynccontextmanager
    async def _driver_connection(self) -> AsyncIterator[asyncpg.Connection]:
        pooled = await self._acquire()
        try:
            yield pooled.driver_connection
        except BaseException as error:
            # A refusal by a procedure leaves a sound connection; of anything else we do not know.
            if not isinstance(error, AppError | asyncpg.PostgresError) or isinstance(
                error, Unavailable
            ):
                await greenlet_spawn(pooled.invalidate)
            raise
        finally:
            # Nothing is reset, so giving it back touches no socket and awaits nothing.
            pooled.close()

    async def _acquire(self) -> PoolProxiedConnection:
        try:
            # What `connect` adds, its own transactions and result objects, nobody here uses.
            return await self.engine.raw_connection()
        except sqlalchemy_errors.TimeoutError as error:
            log.warning("database_pool_exhausted")
            raise DatabaseBusy() from error
        except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
            log.warning("database_unavailable", reason=type(error).__name__)
            raise DatabaseUnavailable() from error


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn what says "not now" into a 503; everything else passes as it is."""
    try:
        yield
    except STALE_PLANS as error:
        # The procedures were laid anew under us; another connection plans anew.
        log.warning("database_plan_stale")
        raise DatabaseContention() from error
    except asyncpg.PostgresError as error:
        unavailable = unavailable_for(error)
        if unavailable is None:
            raise
        log.warning("database_refused", sqlstate=error.sqlstate)
        raise unavailable from error
    except CONNECTION_ERRORS as error:
        log.warning("database_lost", reason=type(error).__name__)
        raise DatabaseUnavailable() from error


def unavailable_for(error: asyncpg.PostgresError) -> Unavailable | None:
    """Say which 503 an SQLSTATE is, if it is one."""
    sqlstate = error.sqlstate or ""
    if sqlstate in CONTENTION:
        return DatabaseContention()
    if sqlstate.startswith(UNAVAILABLE_CLASSES):
        return DatabaseUnavailable()
    return None
