"""What the tests of the reporting views share: a small desk with a history."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_instrument, make_user, set_price
from read_tokens import read, sign


@dataclass(frozen=True)
class World:
    """Two accounts with the same history, a member of the first alone, and others."""

    database: Database
    key: str
    first: int
    second: int
    member: UUID
    stranger: UUID
    admin: UUID

    async def seen_by(self, user_id: UUID | None, view: str) -> list[asyncpg.Record]:
        """Return what a user sees of a view; None signs nothing."""
        token = sign(self.key, user_id) if user_id else None
        query = f"SELECT * FROM reporting.{view}"  # noqa: S608
        return await read(self.database, token, query)


@pytest.fixture
async def world(database: Database) -> World:
    """A small desk."""
    migrate = await database.connect("app_migrate")
    member = await make_user(migrate, "trader")
    stranger = await make_user(migrate, "trader")
    admin = await make_user(migrate, "admin")
    first = await make_account(migrate, {member: True})
    second = await make_account(migrate, {})
    await make_instrument(migrate, "AAPL")
    await set_price(migrate, "AAPL", "20.5")
    superuser = await database.connect("postgres")
    for account_id in (first, second):
        await make_history(superuser, account_id, member)
    await superuser.execute(
        "INSERT INTO market.calendar VALUES"
        " ('XNYS', current_date - 1, now() - interval '1 day', now() - interval '18 h', FALSE),"
        " ('XNYS', current_date + 1, now() + interval '1 day', now() + interval '30 h', FALSE)"
    )
    key = database.settings.secret("db_token_key")
    return World(database, key, first, second, member, stranger, admin)


async def make_history(superuser: asyncpg.Connection, account_id: int, user_id: UUID) -> None:
    """Insert an order, its fill, position and event, as they would be after trading."""
    order_id = await superuser.fetchval(
        "INSERT INTO app.orders (client_order_id, request_hash, account_id, instrument_id, side,"
        " order_type, time_in_force, quantity, status, cum_quantity, average_price, created_by,"
        " request_id) VALUES ($1, '\\x', $2, 1, 'buy', 'market', 'day', 10, 'partially_filled', 3,"
        " 20, $3, 'r') RETURNING order_id",
        f"order-{account_id}",
        account_id,
        user_id,
    )
    await superuser.execute(
        "INSERT INTO app.executions (order_id, account_id, instrument_id, source, exec_base, side,"
        " quantity, price, currency, fee, fee_currency, executed_at)"
        " VALUES ($1, $2, 1, 'qc:1', $3, 'buy', 3, 20, 'USD', 1, 'USD', now())",
        order_id,
        account_id,
        f"exec-{account_id}",
    )
    await superuser.execute(
        "INSERT INTO app.positions (account_id, instrument_id, quantity, cost, fees)"
        " VALUES ($1, 1, 3, 60.00000001, 1)",
        account_id,
    )
    await superuser.execute(
        "INSERT INTO app.integrity_breaks (account_id, figure, subject, ours, expected)"
        " VALUES ($1, 'position_quantity', 'AAPL', 3, 2)",
        account_id,
    )
    await superuser.execute(
        "INSERT INTO app.strategies (account_id, name) VALUES ($1, 'alpha')", account_id
    )
    await superuser.execute(
        "INSERT INTO app.order_events (order_id, kind, source, status_before, status_after,"
        " applied, detail, event_at)"
        " VALUES ($1, 'order_event', 'qc:1', 'submitted', 'accepted', TRUE, '{}', now())",
        order_id,
    )
    await superuser.execute(
        "INSERT INTO market.equity (account_id, equity_at, currency, cash, market_value)"
        " VALUES ($1, now(), 'USD', 1, 2)",
        account_id,
    )
    await superuser.execute(
        "INSERT INTO market.bars (instrument_id, resolution, bar_at, open, high, low, close,"
        " volume, source) VALUES (1, '1d', date_trunc('day', now()), 1, 2, 1, 2, 5, 'replay')"
        " ON CONFLICT DO NOTHING"
    )
