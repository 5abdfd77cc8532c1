"""The rules that weigh money: contract sizes, other currencies, and what has no rate."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fixtures_postgres import set_price
from risk_kit import hold, limit, preview, verdict
from sp_world import World, desk

__all__ = ["desk"]

UPSERT = "SELECT app.sp_instrument_upsert('system:test', $1, $1, $2, 0.01, 1, TRUE, $3)"
RATES = "SELECT app.sp_fx_rates_put('system:test', 'ecb', 'EUR', $1::jsonb)"
DEPOSIT = "SELECT app.sp_cash_book('system:test', $1, 'EUR', $2, 'deposit', 'euro')"
SELL = {"side": "sell"}


async def instrument(desk: World, symbol: str, currency: str = "USD", multiplier: int = 1) -> None:
    """List an instrument whose last price is 100."""
    await desk.migrate.execute(UPSERT, symbol, currency, Decimal(multiplier))
    await set_price(desk.migrate, symbol, "100")


async def rate(desk: World, dollars: str, *, days_ago: int = 0) -> None:
    """Say what a euro is worth."""
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    told = [{"quote": "USD", "rate_date": day.isoformat(), "rate": dollars}]
    await desk.migrate.execute(RATES, json.dumps(told))


async def test_the_contract_size_counts_in_notional_and_buying_power(desk: World) -> None:
    await instrument(desk, "FUT", multiplier=50)
    await limit(desk, order_notional_max=Decimal(60_000))
    # A contract is worth 99 * 50 at its limit price.
    denied = await verdict(desk, symbol="FUT", quantity=Decimal(13))
    assert denied == ("ORDER_NOTIONAL_EXCEEDS_MAX", 12)
    seen = await preview(desk, desk.request(symbol="FUT", quantity=Decimal(2)))
    assert (seen["notional"], seen["buying_power_needed"]) == (10_000, 10_000)
    await limit(desk, leverage_max=Decimal("0.1"))
    denied = await verdict(desk, symbol="FUT", quantity=Decimal(3))
    assert denied == ("BUYING_POWER_EXCEEDED", 2)


async def test_a_working_order_binds_power_by_its_contract_size(desk: World) -> None:
    await instrument(desk, "FUT", multiplier=50)
    await limit(desk, leverage_max=Decimal("0.1"))
    assert await verdict(desk, symbol="FUT", quantity=Decimal(1)) == (None, None)
    left = (await preview(desk, desk.request(symbol="FUT")))["buying_power"]
    assert left == 10_000 - 5_000
    assert await verdict(desk, symbol="FUT", quantity=Decimal(2)) == ("BUYING_POWER_EXCEEDED", 1)


async def test_a_held_contract_counts_with_its_size(desk: World) -> None:
    await instrument(desk, "FUT", multiplier=50)
    await hold(desk, 2, "FUT")
    seen = await preview(desk, desk.request())
    assert seen["equity"] == 110_000
    assert seen["buying_power"] == 2 * 110_000 - 10_000


async def test_power_is_what_all_currencies_are_worth_in_that_of_the_account(desk: World) -> None:
    await instrument(desk, "SAP", "EUR")
    await rate(desk, "1.25")
    await desk.migrate.execute(DEPOSIT, desk.account, Decimal(1000))
    seen = await preview(desk, desk.request(symbol="SAP", quantity=Decimal(10)))
    assert seen["equity"] == 100_000 + 1_250
    assert seen["buying_power"] == 2 * 101_250
    assert (seen["notional"], seen["buying_power_needed"]) == (1_000, Decimal(1_250))
    await limit(desk, leverage_max=Decimal("0.01"))
    denied = await verdict(desk, symbol="SAP", quantity=Decimal(9))
    assert denied == ("BUYING_POWER_EXCEEDED", 8)
    await limit(desk, order_notional_max=Decimal(500))
    denied = await verdict(desk, symbol="SAP", quantity=Decimal(5))
    assert denied == ("ORDER_NOTIONAL_EXCEEDS_MAX", 4)


async def test_a_loss_in_another_currency_is_a_loss_of_the_day(desk: World) -> None:
    await instrument(desk, "SAP", "EUR")
    await rate(desk, "1.25")
    await hold(desk, 100, "SAP", price=125)
    await limit(desk, daily_loss_max=Decimal(1000))
    assert await verdict(desk, quantity=Decimal(1)) == (None, None)
    await set_price(desk.migrate, "SAP", "91.99")
    assert (await verdict(desk, quantity=Decimal(1)))[0] == "DAILY_LOSS_EXCEEDED"


async def test_what_has_no_recent_rate_denies_what_opens_and_nothing_else(desk: World) -> None:
    await instrument(desk, "SAP", "EUR")
    await hold(desk, 5)
    assert await verdict(desk, symbol="SAP", quantity=Decimal(1)) == ("NO_FX_RATE", None)
    await rate(desk, "1.25", days_ago=30)
    assert await verdict(desk, symbol="SAP", quantity=Decimal(1)) == ("NO_FX_RATE", None)
    await desk.root.execute(
        "INSERT INTO app.cash_balances (account_id, currency, amount) VALUES ($1, 'EUR', 1)",
        desk.account,
    )
    assert await verdict(desk, quantity=Decimal(1)) == ("NO_FX_RATE", None)
    assert await verdict(desk, **SELL, quantity=Decimal(5)) == (None, None)
    await rate(desk, "1.25")
    assert await verdict(desk, quantity=Decimal(1)) == (None, None)
    assert await verdict(desk, symbol="SAP", quantity=Decimal(1)) == (None, None)


async def test_a_working_order_in_a_currency_whose_rate_went_away_is_told(desk: World) -> None:
    await instrument(desk, "SAP", "EUR")
    await rate(desk, "1.25")
    assert await verdict(desk, symbol="SAP", quantity=Decimal(1)) == (None, None)
    await desk.root.execute("DELETE FROM market.fx_rates")
    assert await verdict(desk, quantity=Decimal(1)) == ("NO_FX_RATE", None)


async def test_an_order_keeps_the_price_that_it_met(desk: World) -> None:
    placed = await desk.place()
    await set_price(desk.migrate, "AAPL", "101")
    again = await desk.place()
    query = "SELECT arrival_price FROM app.orders WHERE order_id = $1"
    met = [await desk.root.fetchval(query, order["order_id"]) for order in (placed, again)]
    assert met == [100, 101]
