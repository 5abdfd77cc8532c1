"""What a reader sees: his accounts by his token, nothing without one, exact figures."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_instrument, make_user, set_price
from read_tokens import read, sign

VIEWS_OF_ACCOUNTS = (
    "accounts",
    "positions",
    "orders",
    "executions",
    "order_events",
    "cash",
    "cash_movements",
    "equity",
    "account_summary",
    "equity_history",
)
VIEWS_OF_THE_MARKET = ("instruments", "bars", "quotes")


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


@pytest.mark.parametrize("view", VIEWS_OF_ACCOUNTS)
async def test_a_member_sees_his_accounts_an_admin_all_and_others_nothing(
    world: World, view: str
) -> None:
    async def accounts(user_id: UUID | None) -> list[int]:
        return sorted(row["account_id"] for row in await world.seen_by(user_id, view))

    assert await accounts(world.member) == [world.first]
    assert await accounts(world.admin) == sorted([world.first, world.second])
    assert await accounts(world.stranger) == []
    assert await accounts(uuid4()) == []
    assert await accounts(None) == []


@pytest.mark.parametrize("view", VIEWS_OF_THE_MARKET)
async def test_the_market_is_for_whoever_is_signed_in(world: World, view: str) -> None:
    assert len(await world.seen_by(world.stranger, view)) == 1
    assert await world.seen_by(uuid4(), view) == []
    assert await world.seen_by(None, view) == []


async def test_naming_a_user_opens_nothing(world: World) -> None:
    connection = await world.database.connect("app_read")
    for name in ("app.user_id", "app.user", "app.token"):
        await connection.execute("SELECT set_config($1, $2, FALSE)", name, str(world.admin))
    assert await connection.fetch("SELECT * FROM reporting.orders") == []


async def test_a_token_of_one_transaction_is_gone_in_the_next(world: World) -> None:
    connection = await world.database.connect("app_read")
    async with connection.transaction(readonly=True):
        token = sign(world.key, world.admin)
        await connection.execute("SELECT set_config('app.user_token', $1, TRUE)", token)
        assert len(await connection.fetch("SELECT * FROM reporting.orders")) == 2
    assert await connection.fetch("SELECT * FROM reporting.orders") == []


async def test_a_disabled_user_sees_nothing_although_his_token_is_good(world: World) -> None:
    superuser = await world.database.connect("postgres")
    await superuser.execute(
        "UPDATE app.users SET disabled = TRUE WHERE user_id <> $1", world.stranger
    )
    for view in (*VIEWS_OF_ACCOUNTS, *VIEWS_OF_THE_MARKET):
        assert await world.seen_by(world.member, view) == []
        assert await world.seen_by(world.admin, view) == []


async def test_a_membership_that_ended_hides_the_account_at_once(world: World) -> None:
    migrate = await world.database.connect("app_migrate")
    assert await world.seen_by(world.member, "orders") != []
    query = "SELECT app.sp_member_set('system:test', $1, $2, NULL)"
    await migrate.execute(query, world.first, world.member)
    assert await world.seen_by(world.member, "orders") == []


async def test_a_reader_cannot_write_through_the_views(world: World) -> None:
    connection = await world.database.connect("app_read")
    for statement in (
        "UPDATE reporting.orders SET status = 'filled'",
        "DELETE FROM reporting.cash",
        "INSERT INTO reporting.cash VALUES (1, 'USD', 1)",
    ):
        with pytest.raises(
            (
                asyncpg.InsufficientPrivilegeError,
                asyncpg.ObjectNotInPrerequisiteStateError,
                asyncpg.ReadOnlySQLTransactionError,
            )
        ):
            await connection.execute(statement)


async def test_figures_are_exact(world: World) -> None:
    (position,) = await world.seen_by(world.member, "positions")
    assert abs(position["average_cost"] * 3 - Decimal("60.00000001")) < Decimal("1e-15")
    assert position["cost"] == Decimal("60.00000001")
    assert position["market_value"] == Decimal("61.5")
    assert position["unrealized_pnl"] == Decimal("1.49999999")
    (equity,) = await world.seen_by(world.member, "equity")
    assert equity["equity"] == Decimal("100061.5")
    assert equity["unpriced"] == 0
    (order,) = await world.seen_by(world.member, "orders")
    assert (order["leaves_quantity"], order["open"]) == (Decimal(7), True)


async def test_a_position_without_a_price_is_counted_not_guessed(world: World) -> None:
    superuser = await world.database.connect("postgres")
    await superuser.execute("DELETE FROM market.last_prices")
    (equity,) = await world.seen_by(world.member, "equity")
    assert (equity["unpriced"], equity["equity"]) == (1, Decimal(100_000))
    (position,) = await world.seen_by(world.member, "positions")
    assert position["market_value"] is None


@pytest.mark.parametrize(
    ("own", "everyone", "seen"),
    [
        (None, None, "active"),
        ("halted", None, "halted"),
        (None, "reducing", "reducing"),
        ("reducing", "halted", "halted"),
        ("halted", "reducing", "halted"),
        ("active", "active", "active"),
    ],
)
async def test_the_tightest_switch_is_shown(
    world: World, own: str | None, everyone: str | None, seen: str
) -> None:
    superuser = await world.database.connect("postgres")
    insert = "INSERT INTO app.trading_states VALUES ($1, $2, $3, $3, 'user:x')"
    if own is not None:
        await superuser.execute(insert, "account", world.first, own)
    if everyone is not None:
        await superuser.execute(insert, "global", 0, everyone)
    (account,) = await world.seen_by(world.member, "accounts")
    assert account["trading_state"] == seen
    assert account["trading_state_reason"] == (None if seen == "active" else seen)
    assert account["can_trade"] is True
