"""Currencies meet by a rate row that is named, or not at all."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import make_instrument, set_price
from read_tokens import read, sign
from sp_world import World, desk, refused

__all__ = ["desk"]

PUT = "SELECT app.sp_fx_rates_put('operator:t', 'ecb', 'EUR', $1::jsonb)"
RATE = "SELECT rate, rate_date FROM app.sp_fx_rate($1, $2, $3)"
MONDAY = date(2026, 3, 2)


def _today() -> date:
    return datetime.now(UTC).date()


async def _put(desk: World, day: date, **rates: str) -> int:
    told = [
        {"quote": quote, "rate_date": day.isoformat(), "rate": rate}
        for quote, rate in rates.items()
    ]
    return int(await desk.migrate.fetchval(PUT, json.dumps(told)))


async def _rate(desk: World, source: str, target: str, day: date) -> tuple[Any, Any]:
    return tuple(await desk.root.fetchrow(RATE, source, target, day))


async def _seen(desk: World, query: str, *arguments: Any) -> list[asyncpg.Record]:
    key = desk.database.settings.secret("db_token_key")
    return await read(desk.database, sign(key, desk.trader), query, *arguments)


async def _summary(desk: World) -> asyncpg.Record:
    [row] = await _seen(
        desk, "SELECT * FROM reporting.account_summary WHERE account_id = $1", desk.account
    )
    return row


async def _deposit(desk: World, currency: str, amount: int) -> None:
    await desk.migrate.execute(
        "SELECT app.sp_cash_book('system:test', $1, $2, $3, 'deposit', 'r')",
        *(desk.account, currency, Decimal(amount)),
    )


# --- rates ----------------------------------------------------------------------------------


async def test_rates_are_kept_once_and_audited_when_they_change(desk: World) -> None:
    assert await _put(desk, MONDAY, USD="1.25", JPY="150") == 2
    assert await _put(desk, MONDAY, USD="1.250", JPY="150") == 0
    assert await _put(desk, MONDAY, USD="1.26") == 1
    assert await _rate(desk, "EUR", "USD", MONDAY) == (Decimal("1.26"), MONDAY)
    told = await desk.root.fetch(
        "SELECT detail::text FROM audit.audit_log WHERE action = 'fx_rates.put' ORDER BY seq"
    )
    assert [json.loads(row["detail"])["rates"] for row in told] == [2, 1]
    spans = await desk.migrate.fetch("SELECT * FROM app.sp_fx_rates_span('ecb') ORDER BY quote")
    assert [tuple(row) for row in spans] == [
        (quote, MONDAY, MONDAY) for quote in ("EUR", "JPY", "USD")
    ]
    await desk.assert_whole()


async def test_a_rate_is_direct_inverse_or_across_the_base(desk: World) -> None:
    await _put(desk, MONDAY, USD="1.25", JPY="150")
    assert await _rate(desk, "EUR", "USD", MONDAY) == (Decimal("1.25"), MONDAY)
    assert await _rate(desk, "USD", "EUR", MONDAY) == (Decimal("0.8"), MONDAY)
    assert await _rate(desk, "USD", "JPY", MONDAY) == (120, MONDAY)
    assert await _rate(desk, "CHF", "CHF", MONDAY) == (1, MONDAY), "needs no row"
    assert await _rate(desk, "USD", "CHF", MONDAY) == (None, None)
    assert await _rate(desk, "CHF", "USD", MONDAY) == (None, None)


async def test_a_rate_is_of_the_past_and_not_older_than_a_week(desk: World) -> None:
    await _put(desk, MONDAY, USD="1.25")
    await _put(desk, MONDAY + timedelta(days=1), USD="1.5")
    for days, expected in ((-1, None), (0, "1.25"), (1, "1.5"), (8, "1.5"), (9, None)):
        rate, of = await _rate(desk, "EUR", "USD", MONDAY + timedelta(days=days))
        assert rate == (None if expected is None else Decimal(expected)), days
        assert of == (None if expected is None else MONDAY + timedelta(days=min(days, 1)))


async def test_both_sides_of_a_rate_are_of_the_same_day(desk: World) -> None:
    await _put(desk, MONDAY, USD="1.25", JPY="150")
    await _put(desk, MONDAY + timedelta(days=1), USD="1.5")
    tuesday = MONDAY + timedelta(days=1)
    assert await _rate(desk, "USD", "JPY", tuesday) == (120, MONDAY)


@pytest.mark.parametrize(
    "rates",
    [
        "{}",
        "null",
        '[{"quote": "USD", "rate_date": "2026-03-02", "rate": "0"}]',
        '[{"quote": "USD", "rate_date": "2026-03-02", "rate": "0.000"}]',
        '[{"quote": "USD", "rate_date": "2026-03-02", "rate": "-1"}]',
        '[{"quote": "USD", "rate_date": "2026-03-02", "rate": "NaN"}]',
        '[{"quote": "USD", "rate_date": "2026-03-02", "rate": "1e5"}]',
        '[{"quote": "USD", "rate_date": "2026-03-02", "rate": "1000000000000"}]',
        '[{"quote": "USD", "rate_date": "2026-03-02"}]',
        '[{"quote": "usd", "rate_date": "2026-03-02", "rate": "1"}]',
        '[{"quote": "EUR", "rate_date": "2026-03-02", "rate": "2"}]',
        '[{"quote": "USD", "rate_date": "now", "rate": "1"}]',
        '[{"rate_date": "2026-03-02", "rate": "1"}]',
        "[1]",
    ],
)
async def test_what_is_no_rate_is_refused_whole(desk: World, rates: str) -> None:
    good = '{"quote": "JPY", "rate_date": "2026-03-02", "rate": "150"}'
    with refused("IN422", "rates_invalid"):
        await desk.migrate.fetchval(PUT, rates.replace("[{", f"[{good}, {{"))
    assert not await desk.root.fetchval("SELECT count(*) FROM market.fx_rates")


# --- what an account is worth ---------------------------------------------------------------


async def test_other_currencies_count_at_a_named_rate_and_are_told_without_one(
    desk: World,
) -> None:
    await make_instrument(desk.migrate, "SAP", currency="EUR")
    await set_price(desk.migrate, "SAP", "100")
    await _deposit(desk, "EUR", 1000)
    await desk.acquire()
    await _put(desk, _today(), USD="1.3")
    order = await desk.submit(symbol="SAP", quantity=Decimal(5))
    await desk.fill(order, "5", "90", fee="2")
    # Without any rate the order would have been denied.
    await desk.root.execute("DELETE FROM market.fx_rates")
    row = await _summary(desk)
    assert (row["unpriced"], row["unconverted"], row["day_pnl"]) == (0, 1, None)
    assert (row["equity"], row["fees"]) == (100_000 - 2, 2), "what can be valued, beside the count"
    sampled = "SELECT count(*) FROM market.equity WHERE account_id = $1"
    await desk.worker.fetchval("SELECT app.sp_equity_sample()")
    assert await desk.root.fetchval(sampled, desk.account) == 0
    assert await desk.root.fetchval(sampled, desk.other) == 1

    await _put(desk, _today() - timedelta(days=1), USD="1.25")
    row = await _summary(desk)
    assert (row["unpriced"], row["unconverted"]) == (0, 0)
    euros = 1000 - 5 * 90 + 5 * 100
    assert row["equity"] == 100_000 - 2 + euros * Decimal("1.25")
    assert (row["unrealized_pnl"], row["gross_exposure"]) == (Decimal("62.5"), 625)
    assert row["fx_date"] == _today() - timedelta(days=1)
    rows = await _seen(
        desk,
        "SELECT currency, cash, market_value, fees, fx_rate, fx_date, equity_converted"
        " FROM reporting.equity_by_currency WHERE account_id = $1 ORDER BY currency",
        desk.account,
    )
    assert [tuple(row) for row in rows] == [
        ("EUR", 550, 500, 0, Decimal("1.25"), _today() - timedelta(days=1), Decimal("1312.5")),
        ("USD", 99_998, 0, 2, 1, _today(), 99_998),
    ]
    await desk.worker.fetchval("SELECT app.sp_equity_sample()")
    sample = await desk.root.fetchrow(
        "SELECT currency, cash, market_value FROM market.equity WHERE account_id = $1", desk.account
    )
    assert tuple(sample) == ("USD", 99_998 + 550 * Decimal("1.25"), 625)


async def test_money_paid_in_is_no_gain_in_any_currency(desk: World) -> None:
    await _put(desk, _today(), USD="1.25")
    await desk.worker.fetchval("SELECT app.sp_equity_sample()")
    await _deposit(desk, "EUR", 1000)
    day = "SELECT equity FROM app.day_equity WHERE account_id = $1"
    assert await desk.root.fetchval(day, desk.account) == 101_250
    row = await _summary(desk)
    assert (row["equity"], row["day_pnl"]) == (101_250, 0)
    await _put(desk, _today(), USD="1.30")
    # Paid in at the rate of its day, whatever that was said to be: the account is as it was.
    assert (await _summary(desk))["day_pnl"] == 0


async def test_rates_are_read_by_whoever_is_somebody(desk: World) -> None:
    await _put(desk, MONDAY, USD="1.25")
    query = "SELECT base, quote, rate_date, rate, source FROM reporting.fx_rates ORDER BY quote"
    assert [tuple(row) for row in await _seen(desk, query)] == [
        ("EUR", "EUR", MONDAY, 1, "ecb"),
        ("EUR", "USD", MONDAY, Decimal("1.25"), "ecb"),
    ]
    assert await read(desk.database, None, query) == []
