"""Exposure, limits in use, alerts and capabilities, with figures computed by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fixtures_postgres import make_user, set_price
from read_tokens import read, sign
from sp_world import World, desk

__all__ = ["desk"]

OF_ACCOUNTS = (
    "route_capabilities",
    "strategies",
    "books",
    "exposure",
    "limit_usage",
    "alerts",
    "pnl_attribution",
    "execution_quality",
)


async def seen(
    desk: World, query: str, *arguments: Any, user_id: UUID | None = None
) -> list[asyncpg.Record]:
    """Read as a user; the trader when none is named."""
    key = desk.database.settings.secret("db_token_key")
    return await read(desk.database, sign(key, user_id or desk.trader), query, *arguments)


async def rows(desk: World, view: str) -> list[asyncpg.Record]:
    """Return what the trader sees of a view about the account."""
    query = f"SELECT * FROM reporting.{view} WHERE account_id = ANY ($1)"  # noqa: S608
    return await seen(desk, query, [desk.account])


async def traded(desk: World, price: str, quantity: str, side: str, **terms: Any) -> asyncpg.Record:
    """Place an order and have it filled."""
    order = await desk.submit(side=side, quantity=Decimal(quantity), **terms)
    await desk.venue(order, "accepted")
    await desk.fill(order, quantity, price, status="filled")
    return order


@pytest.fixture
async def books(desk: World) -> World:
    """A desk whose strategy alpha bought 10 at 100, of which 4 were sold at 110 without it.

    Then alpha sold 5 at 120. Each of the three fills cost a fee of 1, and the last price is 105.
    """
    await desk.acquire()
    query = "SELECT app.sp_strategy_upsert('system:test', $1, 'alpha', 'request')"
    alpha = await desk.migrate.fetchval(query, desk.account)
    await traded(desk, "100", "10", "buy", strategy_id=alpha)
    await traded(desk, "110", "4", "sell")
    await traded(desk, "120", "5", "sell", strategy_id=alpha)
    await set_price(desk.migrate, "AAPL", "105")
    return desk


async def test_profit_and_loss_is_attributed_to_the_strategy_that_made_it(books: World) -> None:
    found = {row["strategy"]: row for row in await rows(books, "pnl_attribution")}
    names = ("symbol", "quantity", "realized_pnl", "unrealized_pnl", "fees", "pnl")
    assert [found["alpha"][name] for name in names] == ["AAPL", 5, 100, 25, 2, 123]
    assert [found[None][name] for name in names] == ["AAPL", -4, 0, 20, 1, 19]


async def test_the_parts_add_up_to_the_position(books: World) -> None:
    parts = await rows(books, "pnl_attribution")
    (position,) = await rows(books, "positions")
    whole = position["realized_pnl"] + position["unrealized_pnl"] - position["fees"]
    assert (sum(row["pnl"] for row in parts), whole) == (142, 142)
    assert sum(row["quantity"] for row in parts) == position["quantity"] == 1
    assert sum(row["fees"] for row in parts) == position["fees"] == 3


async def test_without_strategies_the_attribution_is_the_position(desk: World) -> None:
    await desk.acquire()
    for price, quantity, side in (("100", "3", "buy"), ("99.37", "4", "buy"), ("101", "2", "sell")):
        await traded(desk, price, quantity, side)
    (part,) = await rows(desk, "pnl_attribution")
    (position,) = await rows(desk, "positions")
    for name in ("quantity", "realized_pnl", "unrealized_pnl", "fees"):
        assert part[name] == position[name], name


async def test_a_strategys_book_is_folded_as_the_position_is(desk: World) -> None:
    await desk.acquire()
    query = "SELECT app.sp_strategy_upsert('system:test', $1, 'alpha', 'request')"
    alpha = await desk.migrate.fetchval(query, desk.account)
    first = await desk.submit(quantity=Decimal(3), strategy_id=alpha)
    await desk.fill(first, "3", "100", status="filled", exec_id="x")
    for price, quantity, side in (("99.37", "4", "buy"), ("101", "2", "sell"), ("98", "9", "sell")):
        await traded(desk, price, quantity, side, strategy_id=alpha)
    # Corrected to where it was, the first fill stays the first.
    again: dict[str, Any] = {"exec_id": "x", "exec_revision": 1, "status": "filled"}
    assert await desk.fill(first, "3", "102", **again) == "applied"
    gone = await traded(desk, "97", "2", "buy", strategy_id=alpha)
    exec_id = await desk.root.fetchval(
        "SELECT exec_base FROM app.executions WHERE order_id = $1", gone["order_id"]
    )
    assert await desk.report(gone, "bust", exec_id=exec_id) == "applied"
    (book,) = await rows(desk, "books")
    (position,) = await rows(desk, "positions")
    for name in ("quantity", "cost", "realized_pnl", "fees"):
        assert book[name] == position[name], name


async def test_a_position_without_a_price_has_no_profit_yet(books: World) -> None:
    await books.root.execute("DELETE FROM market.last_prices")
    parts = await rows(books, "pnl_attribution")
    assert [(row["unrealized_pnl"], row["pnl"]) for row in parts] == [(None, None)] * 2
    exposed = await rows(books, "exposure")
    assert [(row["net"], row["gross"], row["unpriced"]) for row in exposed] == [(0, 0, 1)] * 3


async def test_exposure_is_told_by_symbol_and_by_strategy(books: World) -> None:
    found = {
        (row["dimension"], row["name"]): (row["net"], row["gross"], row["unpriced"])
        for row in await rows(books, "exposure")
    }
    assert found == {
        ("symbol", "AAPL"): (105, 105, 0),
        ("strategy", "alpha"): (525, 525, 0),
        ("strategy", None): (-420, 420, 0),
    }


async def test_each_limit_tells_how_much_of_it_is_used(books: World) -> None:
    order = await books.submit(quantity=Decimal(30), limit_price=Decimal(99))
    await books.venue(order, "accepted")
    found = {row["name"]: row for row in await rows(books, "limit_usage")}
    # Worth 100,000 - 1,000 + 440 + 600 - 3 in cash, and one share at 105.
    wanted = {
        "order_quantity": (30, 1000),
        "order_notional": (2970, 50_000),
        "position_quantity": (31, 100_000),
        "open_orders": (1, 200),
        "daily_loss": (0, 10_000),
        "gross_exposure": (105, 2 * 100_142),
    }
    assert {name: (found[name]["used"], found[name]["allowed"]) for name in wanted} == wanted
    rate = found["orders_per_minute"]
    assert (0 <= rate["used"] <= 4, rate["allowed"]) == (True, 600)
    assert found["order_quantity"]["use"] == Decimal("0.03")
    assert len(found) == 7


async def test_a_loss_of_the_day_is_told_by_the_figure_that_denies(books: World) -> None:
    await set_price(books.migrate, "AAPL", "95")
    await books.root.execute("UPDATE app.day_equity SET equity = 100200")
    found = {row["name"]: row for row in await rows(books, "limit_usage")}
    # 100,037 in cash and one share at 95.
    assert found["daily_loss"]["used"] == 100_200 - 100_132


async def test_an_account_that_owes_has_no_exposure_left_to_use(books: World) -> None:
    await books.root.execute("UPDATE app.cash_balances SET amount = -500")
    found = {row["name"]: row for row in await rows(books, "limit_usage")}
    assert (found["gross_exposure"]["allowed"], found["gross_exposure"]["use"]) == (0, None)


async def test_alerts_name_each_thing_that_went_wrong_once(books: World) -> None:
    denied = await books.place(quantity=Decimal(1001))
    odd = await books.submit(quantity=Decimal(2))
    await books.root.execute(
        "UPDATE app.orders SET status = 'lost', late_fill = TRUE, overfill = TRUE, corrected = TRUE"
        " WHERE order_id = $1",
        odd["order_id"],
    )
    found = [
        (row["order_id"], row["kind"], row["severity"], row["reason_code"])
        for row in await rows(books, "alerts")
    ]
    assert sorted(found, key=str) == sorted(
        [
            (denied["order_id"], "denied", "warning", "ORDER_QUANTITY_EXCEEDS_MAX"),
            (odd["order_id"], "lost", "error", None),
            (odd["order_id"], "overfill", "error", None),
            (odd["order_id"], "late_fill", "warning", None),
            (odd["order_id"], "corrected", "warning", None),
        ],
        key=str,
    )


async def test_a_position_whose_price_grew_old_is_an_alert(books: World) -> None:
    assert await rows(books, "alerts") == []
    old = datetime.now(UTC) - timedelta(seconds=31)
    await books.root.execute("UPDATE market.last_prices SET received_at = $1", old)
    (alert,) = await rows(books, "alerts")
    assert (alert["kind"], alert["symbol"], alert["alert_at"]) == ("stale_price", "AAPL", old)
    assert (alert["side"], alert["quantity"], alert["order_id"]) == ("long", 1, None)
    await books.root.execute("DELETE FROM market.last_prices")
    assert [row["kind"] for row in await rows(books, "alerts")] == ["no_price"]


async def test_an_account_says_what_its_route_can_do(desk: World) -> None:
    found = {(row["order_type"], row["time_in_force"]) for row in await rows(desk, VIEW)}
    types, times = ("market", "limit", "stop", "stop_limit"), ("day", "gtc", "gtd")
    assert found == {(kind, time) for kind in types for time in times}
    await desk.root.execute("UPDATE app.accounts SET route = 'ib'")
    found = {(row["order_type"], row["time_in_force"]) for row in await rows(desk, VIEW)}
    assert ("limit", "fok") in found
    assert ("stop", "fok") not in found


VIEW = "route_capabilities"


@pytest.mark.parametrize("view", OF_ACCOUNTS)
async def test_only_members_and_administrators_see_an_account(books: World, view: str) -> None:
    await books.place(quantity=Decimal(1001))
    query = f"SELECT DISTINCT account_id FROM reporting.{view}"  # noqa: S608
    admin = await make_user(books.migrate, "admin")
    for user_id in (books.trader, admin):
        accounts = [row[0] for row in await seen(books, query, user_id=user_id)]
        assert books.account in accounts, user_id
    assert await seen(books, query, user_id=books.stranger) == []
    key = books.database.settings.secret("db_token_key")
    for token in (None, sign(key, books.trader, valid_s=-1)):
        assert await read(books.database, token, query) == []


async def test_the_chain_heads_stay_closed_although_the_rate_is_read(desk: World) -> None:
    # The base tables are out of reach by name; the policy would show no other stream's rate.
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await seen(desk, "SELECT head FROM app.streams")
    columns = await desk.root.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'app.streams'::regclass AND attnum > 0"
        " AND has_column_privilege('app_read', attrelid, attnum, 'SELECT') ORDER BY attnum"
    )
    assert [row[0] for row in columns] == ["stream_id", "rate_at"]


async def test_alerts_are_found_by_their_own_index(desk: World) -> None:
    await desk.root.execute(
        "INSERT INTO app.orders (client_order_id, request_hash, account_id, instrument_id, side,"
        " order_type, time_in_force, quantity, status, reason_code, created_by, request_id)"
        " SELECT 'many-' || g, '\\x', $1, 1, 'buy', 'market', 'day', 1,"
        " CASE WHEN g % 1000 = 0 THEN 'denied' ELSE 'canceled' END,"
        " CASE WHEN g % 1000 = 0 THEN 'NO_MARKET_PRICE' END, $2, 'r'"
        " FROM generate_series(1, 20000) AS g",
        *(desk.account, desk.trader),
    )
    await desk.root.execute("ANALYZE app.orders")
    query = (
        "EXPLAIN SELECT * FROM reporting.alerts WHERE account_id = ANY ($1)"
        " AND alert_at > now() - interval '1 day' ORDER BY alert_at DESC LIMIT 50"
    )
    plan = "\n".join(row[0] for row in await seen(desk, query, [desk.account]))
    assert "orders_alert_idx" in plan, plan
