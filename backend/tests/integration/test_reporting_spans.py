"""What each symbol and strategy made over a span of time, computed by hand."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fixtures_postgres import make_user, set_price
from read_tokens import read, sign
from sp_world import World, desk

__all__ = ["desk"]

SINCE = "SELECT * FROM reporting.attribution_since($1, $2) ORDER BY symbol, strategy"
EVER = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
SECOND = timedelta(seconds=1)


async def since(
    desk: World, moment: datetime, user_id: UUID | None = None
) -> dict[str | None, asyncpg.Record]:
    """What the trader, or another user, is told of the account since then, by strategy."""
    key = desk.database.settings.secret("db_token_key")
    token = sign(key, user_id or desk.trader)
    rows = await read(desk.database, token, SINCE, [desk.account], moment)
    return {row["strategy"]: row for row in rows}


async def traded(desk: World, price: str, quantity: str, side: str, **terms: Any) -> None:
    """Place an order and have it filled."""
    order = await desk.submit(side=side, quantity=Decimal(quantity), **terms)
    await desk.fill(order, quantity, price, status="filled")


async def quoted(desk: World, price: str, moment: datetime) -> None:
    """A price that was kept."""
    await desk.root.execute(
        "INSERT INTO market.quotes (instrument_id, quote_at, price, source)"
        " SELECT instrument_id, $1, $2, 'replay' FROM app.instruments WHERE symbol = 'AAPL'",
        *(moment, Decimal(price)),
    )


@pytest.fixture
async def noon(desk: World) -> datetime:
    """Before this moment 10 were bought at 100; since then 4 sold at 110, and alpha bought 2 at 90.

    The price then was 102, it is 105 now, and each of the three fills cost a fee of 1.
    """
    await desk.acquire()
    query = "SELECT app.sp_strategy_upsert('system:test', $1, 'alpha', 'request')"
    alpha = await desk.migrate.fetchval(query, desk.account)
    await traded(desk, "100", "10", "buy")
    last = await desk.root.fetchval("SELECT max(executed_at) FROM app.executions")
    moment: datetime = last + timedelta(microseconds=1)
    await traded(desk, "110", "4", "sell")
    await traded(desk, "90", "2", "buy", strategy_id=alpha)
    await set_price(desk.migrate, "AAPL", "105")
    await desk.root.execute("DELETE FROM market.quotes")
    await quoted(desk, "102", moment - SECOND)
    await quoted(desk, "104", moment + SECOND)
    return moment


async def test_a_span_counts_from_the_value_at_its_beginning(desk: World, noon: datetime) -> None:
    found = await since(desk, noon)
    names = ("symbol", "currency", "quantity_start", "quantity", "traded", "fees", "pnl")
    # 6 * 105 - 10 * 102 + 4 * 110 - 1, and 2 * 105 - 2 * 90 - 1.
    assert [found[None][name] for name in names] == ["AAPL", "USD", 10, 6, 440, 1, 49]
    assert [found["alpha"][name] for name in names] == ["AAPL", "USD", 0, 2, 180, 1, 29]


async def test_since_ever_it_is_what_was_made_since_the_account_was_opened(
    desk: World, noon: datetime
) -> None:
    key = desk.database.settings.secret("db_token_key")
    query = "SELECT strategy, pnl, fees FROM reporting.pnl_attribution WHERE account_id = $1"
    whole = await read(desk.database, sign(key, desk.trader), query, desk.account)
    found = await since(desk, EVER)
    assert {row["strategy"]: (row["pnl"], row["fees"]) for row in whole} == {
        name: (row["pnl"], row["fees"]) for name, row in found.items()
    }
    assert len(found) == 2


async def test_the_contract_size_counts(desk: World, noon: datetime) -> None:
    await desk.root.execute("UPDATE app.instruments SET multiplier = 10")
    assert (await since(desk, noon))[None]["pnl"] == 10 * (630 - 1020 + 440) - 1


async def test_without_a_price_at_its_beginning_a_span_says_nothing(
    desk: World, noon: datetime
) -> None:
    await desk.root.execute("DELETE FROM market.quotes")
    found = await since(desk, noon)
    assert found[None]["pnl"] is None
    assert found["alpha"]["pnl"] == 29


async def test_an_old_quote_gives_way_to_the_close_of_the_last_whole_day(
    desk: World, noon: datetime
) -> None:
    await desk.root.execute("DELETE FROM market.quotes")
    await desk.root.executemany(
        "INSERT INTO market.bars"
        " (instrument_id, resolution, bar_at, open, high, low, close, volume, source)"
        " SELECT instrument_id, '1d', $1, $2, $2, $2, $2, 1, 'replay'"
        " FROM app.instruments WHERE symbol = 'AAPL'",
        [
            (noon - timedelta(days=2), Decimal(101)),
            (noon - timedelta(hours=23), Decimal(999)),
        ],
    )
    assert (await since(desk, noon))[None]["pnl"] == 630 - 1010 + 440 - 1


async def test_nobody_is_told_of_accounts_that_are_not_his(desk: World, noon: datetime) -> None:
    stranger = await make_user(desk.migrate, "trader")
    assert await since(desk, noon, stranger) == {}
