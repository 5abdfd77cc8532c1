"""Returns, months, costs of trading, the outbox and the audit extract, computed by hand."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fixtures_postgres import make_user
from read_tokens import read, sign
from sp_world import World, desk

__all__ = ["desk"]

RETURNS = "SELECT * FROM reporting.daily_returns($1, $2, $3)"
MONTHS = "SELECT * FROM reporting.pnl_monthly($1, $2, $3)"
QUALITY = "SELECT * FROM reporting.execution_quality WHERE account_id = ANY ($1) ORDER BY order_id"
COSTS = "SELECT * FROM reporting.execution_costs($1, $2, $3)"
OUTBOX = "SELECT * FROM reporting.outbox_health($1)"
AUDIT = "SELECT * FROM reporting.audit_extract($1, $2, $3, $4, $5, $6)"
SPAN = (date(2026, 1, 1), date(2026, 3, 1))
EVER = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


async def seen(
    desk: World, query: str, *arguments: Any, user_id: UUID | None = None
) -> list[asyncpg.Record]:
    """Read as a user; the trader when none is named."""
    key = desk.database.settings.secret("db_token_key")
    return await read(desk.database, sign(key, user_id or desk.trader), query, *arguments)


# --- returns --------------------------------------------------------------------------------

SAMPLES = [("01-30", 100_000), ("01-31", 110_000), ("02-01", 99_000), ("02-02", 108_900)]


async def sampled(desk: World, samples: list[tuple[str, int]]) -> None:
    """An account that was opened in January and was worth so much at noon of these days."""
    await desk.root.execute("UPDATE app.accounts SET created_at = '2026-01-01'")
    await desk.root.executemany(
        "INSERT INTO market.equity (account_id, equity_at, currency, cash, market_value)"
        " VALUES ($1, $2, 'USD', $3, 0)",
        [
            (desk.account, datetime.fromisoformat(f"2026-{day}T12:00:00+00:00"), worth)
            for day, worth in samples
        ],
    )


async def test_a_days_return_is_its_profit_over_what_worked(desk: World) -> None:
    await sampled(desk, SAMPLES)
    rows = await seen(desk, RETURNS, [desk.account], *SPAN)
    assert [float(row["pnl"]) for row in rows] == [0, 10_000, -11_000, 9_900]
    assert [row["daily_return"] for row in rows] == pytest.approx([0, 0.1, -0.1, 0.1])
    assert [row["growth"] for row in rows] == pytest.approx([1, 1.1, 0.99, 1.089])
    assert [row["drawdown"] for row in rows] == pytest.approx([0, 0, -0.1, 1.089 / 1.1 - 1])


async def test_a_first_day_of_loss_is_a_drawdown_from_where_it_began(desk: World) -> None:
    await sampled(desk, [("01-30", 100_000), ("01-31", 90_000)])
    rows = await seen(desk, RETURNS, [desk.account], date(2026, 1, 31), SPAN[1])
    assert [row["drawdown"] for row in rows] == pytest.approx([-0.1])


async def test_money_paid_in_is_no_return(desk: World) -> None:
    await sampled(desk, [("01-30", 100_000), ("01-31", 151_500)])
    await desk.root.execute(
        "INSERT INTO app.cash_movements (account_id, currency, amount, kind, reference, created_at)"
        " VALUES ($1, 'USD', 50000, 'deposit', 'january', '2026-01-31T06:00:00Z')",
        desk.account,
    )
    (_, day) = await seen(desk, RETURNS, [desk.account], *SPAN)
    assert (day["pnl"], day["daily_return"]) == (1500, pytest.approx(0.01))


async def test_a_day_without_money_leaves_the_growth_as_it_was(desk: World) -> None:
    await sampled(desk, [("01-30", 0), ("01-31", 0)])
    rows = await seen(desk, RETURNS, [desk.account], *SPAN)
    assert [(row["daily_return"], row["growth"], row["drawdown"]) for row in rows] == [
        (None, 1, 0)
    ] * 2
    assert [row["monthly_return"] for row in await seen(desk, MONTHS, [desk.account], *SPAN)] == [
        None
    ]


async def test_months_compound_the_days_and_add_up_their_profit(desk: World) -> None:
    await sampled(desk, SAMPLES)
    months = await seen(desk, MONTHS, [desk.account], *SPAN)
    assert [(row["month"], row["days"], row["pnl"]) for row in months] == [
        (date(2026, 1, 1), 2, 10_000),
        (date(2026, 2, 1), 2, -1_100),
    ]
    assert [row["monthly_return"] for row in months] == pytest.approx([0.1, -0.01])


# --- what trading cost ----------------------------------------------------------------------


@pytest.fixture
async def traded(desk: World) -> World:
    """At 100: bought 10 at 100.5, sold 4 at 101, of 10 bought 3 at 99, one order is open."""
    await desk.acquire()
    terms = [("buy", "10", "100.5"), ("sell", "4", "101")]
    for side, quantity, price in terms:
        order = await desk.submit(side=side, quantity=Decimal(quantity))
        await desk.fill(order, quantity, price, status="filled")
    partial = await desk.submit(quantity=Decimal(10))
    await desk.fill(partial, "3", "99")
    await desk.submit(quantity=Decimal(5))
    return desk


async def test_slippage_is_against_the_last_price_at_placing(traded: World) -> None:
    buy, sell, partial, working = await seen(traded, QUALITY, [traded.account])
    assert [row["arrival_price"] for row in (buy, sell, partial, working)] == [100] * 4
    assert (buy["slippage"], buy["slippage_bps"]) == (5, 50)
    # Sold above the price at placing: the cost is negative.
    assert (sell["slippage"], sell["slippage_bps"]) == (-4, -100)
    assert (partial["slippage"], partial["slippage_bps"], partial["fill_rate"]) == (
        -3,
        -100,
        Decimal("0.3"),
    )
    assert (working["slippage"], working["fees"], working["fill_rate"]) == (None, None, 0)
    assert (buy["notional"], buy["fees"]) == (1005, 1)
    assert float(buy["fees_bps"]) == pytest.approx(10_000 / 1005)
    assert (partial["time_to_fill_s"], partial["time_to_first_fill_s"] > 0) == (None, True)


async def test_time_to_fill_goes_from_placing_to_the_last_fill(traded: World) -> None:
    await traded.root.execute(
        "UPDATE app.orders SET created_at = created_at - interval '90 s' WHERE order_id = ("
        "SELECT min(order_id) FROM app.orders)"
    )
    (buy, *_) = await seen(traded, QUALITY, [traded.account])
    row = await traded.root.fetchrow(
        "SELECT x.executed_at - o.created_at AS took FROM app.executions AS x"
        " JOIN app.orders AS o USING (order_id) WHERE o.order_id = $1",
        buy["order_id"],
    )
    assert buy["time_to_fill_s"] == pytest.approx(Decimal(str(row["took"].total_seconds())))
    assert buy["time_to_fill_s"] > 89


async def test_without_a_price_at_placing_there_is_no_slippage(traded: World) -> None:
    await traded.root.execute("UPDATE app.orders SET arrival_price = NULL")
    rows = await seen(traded, QUALITY, [traded.account])
    assert [(row["arrival_price"], row["slippage_bps"]) for row in rows] == [(None, None)] * 4
    (cost,) = await seen(traded, COSTS, [traded.account], *EVER)
    assert (cost["slippage"], cost["slippage_bps"], cost["notional"]) == (None, None, 1706)


async def test_a_denied_order_is_not_execution(traded: World) -> None:
    denied = await traded.place(quantity=Decimal(1001))
    orders = {row["order_id"] for row in await seen(traded, QUALITY, [traded.account])}
    assert denied["order_id"] not in orders


async def test_costs_add_up_by_symbol_and_count_large_orders_for_more(traded: World) -> None:
    (cost,) = await seen(traded, COSTS, [traded.account], *EVER)
    assert (cost["symbol"], cost["currency"]) == ("AAPL", "USD")
    assert (cost["orders"], cost["filled"]) == (4, 2)
    # 17 of 29 ordered; 1005 + 404 + 297 traded; 5 - 4 - 3 of slippage on 17 at 100.
    assert float(cost["fill_rate"]) == pytest.approx(17 / 29)
    assert (cost["notional"], cost["slippage"], cost["fees"]) == (1706, -2, 3)
    assert float(cost["slippage_bps"]) == pytest.approx(-20_000 / 1700)
    assert float(cost["fees_bps"]) == pytest.approx(30_000 / 1706)
    assert cost["time_to_fill_s"] > 0


async def test_costs_are_of_orders_placed_in_the_span(traded: World) -> None:
    assert await seen(traded, COSTS, [traded.account], EVER[0], EVER[0]) == []
    assert await seen(traded, COSTS, [traded.account], *EVER, user_id=traded.stranger) == []


# --- operators ------------------------------------------------------------------------------


async def test_the_outbox_of_an_account_says_what_is_owed_and_why_it_waits(desk: World) -> None:
    await desk.acquire()
    await desk.place()
    (row,) = await seen(desk, OUTBOX, [desk.account])
    assert (row["account_id"], row["pending"], row["sending"]) == (desk.account, 1, 0)
    assert (row["oldest_s"] >= 0, row["parked_until"], row["dead"]) == (True, None, 0)
    (send,) = await desk.begin()
    (row,) = await seen(desk, OUTBOX, [desk.account])
    assert row["sending"] == 1
    assert await desk.finish(send, "not_sent") == 1
    (row,) = await seen(desk, OUTBOX, [desk.account])
    assert (row["sending"], row["parked_reason"]) == (0, "not_sent")
    assert row["parked_until"] is not None
    assert await seen(desk, OUTBOX, [desk.account], user_id=desk.stranger) == []


async def test_an_administrator_takes_the_audit_log_along(desk: World) -> None:
    await desk.place()
    admin = await make_user(desk.migrate, "admin")
    rows = await seen(desk, AUDIT, [0, desk.account], *EVER, -1, 0, 5000, user_id=admin)
    chain = await desk.root.fetch(
        "SELECT stream_id, seq, action, detail, encode(prev_hash, 'hex') AS prev_hash,"
        " encode(hash, 'hex') AS hash FROM audit.audit_log WHERE stream_id IN (0, $1)"
        " ORDER BY stream_id, seq",
        desk.account,
    )
    assert len(rows) == len(chain) > 3
    for row, link in zip(rows, chain, strict=True):
        names = ("stream_id", "seq", "action", "prev_hash", "hash")
        assert [row[name] for name in names] == [link[name] for name in names]
        assert json.loads(row["detail"]) == json.loads(link["detail"])
    email = await desk.root.fetchval("SELECT email FROM app.users WHERE user_id = $1", desk.trader)
    assert [row["actor"] for row in rows if row["action"] == "order.place"] == [email]


async def test_the_extract_is_paged_without_a_gap(desk: World) -> None:
    await desk.place()
    admin = await make_user(desk.migrate, "admin")
    streams = [0, desk.account]
    whole = await seen(desk, AUDIT, streams, *EVER, -1, 0, 5000, user_id=admin)
    paged: list[asyncpg.Record] = []
    place = (-1, 0)
    while page := await seen(desk, AUDIT, streams, *EVER, *place, 2, user_id=admin):
        assert len(page) <= 2
        paged += page
        place = (page[-1]["stream_id"], page[-1]["seq"])
    assert paged == whole
    past = (EVER[0], EVER[0])
    assert await seen(desk, AUDIT, streams, *past, -1, 0, 5000, user_id=admin) == []


async def test_nobody_but_an_administrator_gets_a_link(desk: World) -> None:
    await desk.place()
    arguments = ([0, desk.account], *EVER, -1, 0, 5000)
    viewer = await make_user(desk.migrate, "viewer")
    for user_id in (desk.trader, desk.stranger, viewer):
        assert await seen(desk, AUDIT, *arguments, user_id=user_id) == []
    assert await read(desk.database, None, AUDIT, *arguments) == []
    admin = await make_user(desk.migrate, "admin")
    await desk.root.execute("UPDATE app.users SET disabled = TRUE WHERE user_id = $1", admin)
    assert await seen(desk, AUDIT, *arguments, user_id=admin) == []
