"""Reads as `app_read`: one pool, READ ONLY transactions, a signed token that says whose rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests
from services import db_tokens
from services.logs import get_logger
from services.models import User
from services.once import Once
from services.settings import get_settings

log = get_logger(__name__)

POOL_MAX = 8
# Runs of pages that may stand in line for a connection; more would only wait in vain.
WAITING_MAX = 100
ACQUIRE_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 3000
OUTAGE_S = 1.0

# In force for one transaction only, so that a pooled connection belongs to nobody in between.
SET_READER = (
    "SELECT set_config('statement_timeout', %s, TRUE),"
    " set_config('app.user_id', %s, TRUE), set_config('app.user_token', %s, TRUE)"
)
# Everybody who may sign in sees the instruments; nobody without a good token does.
TOKEN_IS_GOOD = "SELECT EXISTS (SELECT FROM reporting.instruments)"  # noqa: S105

Row = TypeVar("Row")


class DatabaseDown(Exception):
    """The database cannot be read now; what is on the screen is as old as it says."""


class NotSignedIn(DatabaseDown):
    """The session is over, so nothing is read for it any more."""


class _TokenRefused(Exception):
    """The database takes the token for nobody's."""


def rows(user: User, kind: type[Row], query: str, arguments: Sequence[Any]) -> list[Row]:
    """Run one query as the user and return its rows as instances of a dataclass."""
    try:
        return _rows(user, kind, query, arguments)
    except db_tokens.SessionOver as error:
        raise NotSignedIn("The session is over.") from error
    except (psycopg.Error, db_tokens.NoToken, _TokenRefused) as error:
        log.warning(
            "read_failed", extra={"rows": kind.__name__, "reason": str(error) or repr(error)}
        )
        raise DatabaseDown("The database cannot be read now.") from error


def _rows(user: User, kind: type[Row], query: str, arguments: Sequence[Any]) -> list[Row]:
    token = db_tokens.token_for(user)
    try:
        return _read(user, token, kind, query, arguments)
    except _TokenRefused:
        # Old by the clock of the database, or its key was rotated.
        token = db_tokens.renew(user, instead_of=token)
        return _read(user, token, kind, query, arguments)


def _read(
    user: User, token: str, kind: type[Row], query: str, arguments: Sequence[Any]
) -> list[Row]:
    with _transaction(user, token) as connection:
        with connection.cursor(row_factory=class_row(kind)) as cursor:
            # Queries are constants of ro_db.py; what a user chose travels as an argument.
            found = cursor.execute(query.encode(), arguments).fetchall()
        # Nobody gets a row of any question, and an empty page would be a lie then.
        if not found and connection.execute(TOKEN_IS_GOOD).fetchone() != (True,):
            raise _TokenRefused("the database does not believe the token")
        return found


@contextmanager
def _transaction(user: User, token: str) -> Iterator[psycopg.Connection]:
    with _outage.watch(), _pool().connection(timeout=ACQUIRE_TIMEOUT_S) as connection:
        connection.execute(SET_READER, (str(STATEMENT_TIMEOUT_MS), user.user_id, token))
        yield connection


class _Outage:
    """After a wait in vain nobody else waits for a moment: a page makes many reads in a row."""

    def __init__(self) -> None:
        self._until = 0.0

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Fail at once while the database is known to be away."""
        if monotonic() < self._until:
            raise PoolTimeout("the database did not answer a moment ago")
        try:
            yield
        except (PoolTimeout, TooManyRequests):
            self._until = monotonic() + OUTAGE_S
            raise


_outage = _Outage()


def _make_pool() -> ConnectionPool:
    settings = get_settings()
    # Connections are made when they are needed, not here.
    return ConnectionPool(
        kwargs={
            "host": settings.database_host,
            "port": settings.database_port,
            "dbname": settings.database_name,
            "user": "app_read",
            "password": settings.secret("app_read_password"),
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "streamlit",
            "options": "-c TimeZone=UTC",
        },
        configure=_configure,
        min_size=0,
        max_size=POOL_MAX,
        max_waiting=WAITING_MAX,
        max_idle=60,
        # A reader who waits hears of a dead database soon, also when it was well before.
        reconnect_timeout=ACQUIRE_TIMEOUT_S,
        check=ConnectionPool.check_connection,
        open=True,
        name="readers",
    )


def _configure(connection: psycopg.Connection) -> None:
    connection.read_only = True


_pool = Once(_make_pool)


def close() -> None:
    """Close the pool, if it was ever opened."""
    if pool := _pool.take():
        pool.close(timeout=2)
