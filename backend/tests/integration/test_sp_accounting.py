"""What money means beyond one currency and one share: multipliers, over-fills, rates, checks."""

from __future__ import annotations

from decimal import Decimal

from fixtures_postgres import make_instrument, set_price
from read_tokens import read, sign
from sp_world import World, desk

__all__ = ["desk"]


async def _row(desk: World, query: str) -> tuple[object, ...]:
    return tuple(await desk.root.fetchrow(query))


async def test_one_unit_of_an_instrument_counts_as_often_as_its_multiplier_says(
    desk: World,
) -> None:
    await make_instrument(desk.migrate, "ESZ6", multiplier=Decimal(50))
    await set_price(desk.migrate, "ESZ6", "100")
    await desk.acquire()
    buy = await desk.submit(symbol="ESZ6", quantity=Decimal(4))
    await desk.fill(buy, "4", "100")
    sell = await desk.submit(symbol="ESZ6", side="sell", quantity=Decimal(1))
    await desk.fill(sell, "1", "101")
    figures = "SELECT quantity, cost, realized_pnl, fees FROM app.positions"
    assert await _row(desk, figures) == (3, 15_000, 50, 2)
    cash = "SELECT amount FROM app.cash_balances WHERE account_id = 1"
    assert await _row(desk, cash) == (100_000 - 20_000 + 5_050 - 2,)
    assert (await desk.order(buy["order_id"]))["average_price"] == 100, "a price, not money"

    await set_price(desk.migrate, "ESZ6", "102")
    key = desk.database.settings.secret("db_token_key")
    token = sign(key, desk.trader)
    [position] = await read(
        desk.database,
        token,
        "SELECT average_cost, market_value, unrealized_pnl, multiplier FROM reporting.positions",
    )
    assert tuple(position) == (100, 15_300, 300, 50)
    notional = "SELECT notional FROM reporting.executions ORDER BY execution_id"
    assert [row["notional"] for row in await read(desk.database, token, notional)] == [
        20_000,
        5_050,
    ]
    [equity] = await read(
        desk.database, token, "SELECT equity FROM reporting.equity WHERE account_id = 1"
    )
    assert equity["equity"] == 100_000 + 50 + 300 - 2
    await desk.assert_whole()


async def test_a_correction_folds_the_multiplier_in_again(desk: World) -> None:
    await make_instrument(desk.migrate, "ESZ6", multiplier=Decimal("0.5"))
    await set_price(desk.migrate, "ESZ6", "100")
    await desk.acquire()
    order = await desk.submit(symbol="ESZ6", quantity=Decimal(4))
    await desk.fill(order, "4", "100", exec_id="x")
    await desk.fill(order, "4", "102", exec_id="x", exec_revision=1)
    figures = "SELECT quantity, cost, realized_pnl, fees FROM app.positions"
    assert await _row(desk, figures) == (4, 204, 0, 1)
    cash = "SELECT amount FROM app.cash_balances WHERE account_id = 1"
    assert await _row(desk, cash) == (100_000 - 204 - 1,)
