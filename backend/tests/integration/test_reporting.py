"""What a reader sees: his accounts by his token, nothing without one, exact figures."""

from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest
from read_tokens import sign
from reporting_world import World, world

__all__ = ["world"]

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


async def test_a_membership_that_ended_hides_the_account_within_a_second(world: World) -> None:
    migrate = await world.database.connect("app_migrate")
    assert await world.seen_by(world.member, "orders") != []
    query = "SELECT app.sp_member_set('system:test', $1, $2, NULL)"
    await migrate.execute(query, world.first, world.member)
    # Behind a pooler the next question may come in the session of the one before.
    await migrate.execute("SELECT pg_sleep(1.01)")
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
