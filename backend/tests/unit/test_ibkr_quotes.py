"""Prices of Interactive Brokers, over the real wire of ib_async, from a TWS that tells anything."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from ibkr_world import Bench, bench
from tws_layouts import frame
from worker_world import eventually

from app.models.dto import Quote

BID, ASK, LAST, DELAYED_LAST = 1, 2, 4, 68


@pytest.fixture
async def desk() -> AsyncIterator[Bench]:
    """An adapter that watches AAPL."""
    async with bench() as desk:
        await desk.ready()
        desk.adapter.quotes.want(["AAPL"])
        await desk.adapter.quotes.take()
        await eventually(lambda: desk.face.watched)
        yield desk


async def heard(desk: Bench, *prices: tuple[int, str]) -> list[str]:
    """Tell prices, wait until all of them arrived, and return what they made."""
    for kind, price in prices:
        desk.face.price("AAPL", kind, price)
    await settled(desk)
    return [quote.price for quote in await desk.adapter.quotes.take()]


async def settled(desk: Bench) -> None:
    """Wait for the answer to a question: whatever was told before it has been heard."""
    talk = desk.adapter._conversation
    assert talk is not None
    await talk.look(5)


async def test_the_middle_is_the_price_and_each_move_is_handed_over_once(desk: Bench) -> None:
    assert await heard(desk, (BID, "20.1"), (ASK, "20.2")) == ["20.15"]
    assert await heard(desk) == []
    assert await heard(desk, (ASK, "20.3"), (ASK, "20.4")) == ["20.25"]


async def test_without_two_sides_the_last_trade_is_the_price(desk: Bench) -> None:
    assert await heard(desk, (LAST, "20.1")) == ["20.1"]
    assert await heard(desk, (BID, "20")) == []
    assert await heard(desk, (ASK, "20.2")) == ["20.1"]
    # The ask is gone: an old trade does not become new by that.
    assert await heard(desk, (ASK, "-1")) == []


@pytest.mark.parametrize("price", ["nan", "inf", "-inf", "-1", "0", "1e12", "1e-9", "-0.0", ""])
async def test_what_is_no_price_makes_none(desk: Bench, price: str) -> None:
    assert await heard(desk, (LAST, price), (BID, price), (ASK, price)) == []
    assert await heard(desk, (LAST, "20")) == ["20"]


@pytest.mark.parametrize(("bid", "ask"), [("20.2", "20.1"), ("1", "199"), ("20", "1e11")])
async def test_crossed_or_wide_sides_make_no_middle(desk: Bench, bid: str, ask: str) -> None:
    assert await heard(desk, (BID, bid), (ASK, ask)) == []
    assert await heard(desk, (LAST, "20.15")) == ["20.15"]


async def test_delayed_and_frozen_prices_are_not_taken_for_live_ones(desk: Bench) -> None:
    request_id = desk.face.watched["AAPL"]
    assert await heard(desk, (DELAYED_LAST, "19")) == []
    for kind in (2, 3, 4):
        desk.face.say_raw(frame(58, 1, request_id, kind))
        assert await heard(desk, (LAST, "19"), (BID, "19"), (ASK, "19.1")) == []
    desk.face.say_raw(frame(58, 1, request_id, 1))
    assert await heard(desk, (LAST, "20")) == ["20"]


async def test_a_price_of_something_never_asked_for_is_nobodys(desk: Bench) -> None:
    desk.face.say_raw(frame(1, 6, 7, LAST, "20", 1, 0))
    desk.face.say_raw(frame(58, 1, 7, 1))
    assert await heard(desk) == []


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(frame(1, 6, 1_000_000_000, LAST, "twenty", 1, 0), id="words"),
        pytest.param(frame(1, 6, 1_000_000_000), id="short"),
        pytest.param(frame(58, 1, "x", "y"), id="no numbers"),
    ],
)
async def test_a_frame_that_makes_no_sense_ends_the_connection_and_all_is_asked_again(
    desk: Bench, hostile: bytes
) -> None:
    desk.face.price("AAPL", LAST, "20")
    await settled(desk)
    desk.face.watched.clear()
    desk.face.say_raw(hostile)
    await eventually(lambda: desk.face.connections == 2 and desk.adapter.is_ready)
    # What the old connection said, and nobody took, is not the price of the new one.
    assert await desk.adapter.quotes.take() == []
    await eventually(lambda: desk.face.watched)


async def test_no_more_is_watched_than_wanted_and_no_more_than_a_login_may(desk: Bench) -> None:
    quotes, names = desk.adapter.quotes, [f"S{number}" for number in range(150)]
    quotes.want(names)
    # Each call asks for some, so that orders keep their share of the pace.
    for _ in range(60):
        await quotes.take()
        await asyncio.sleep(0.1)
        if len(desk.face.watched) == 100:
            break
    assert list(desk.face.watched) == names[:100]
    quotes.want(["S3"])
    await eventually(lambda: _only(desk, "S3"))


async def _only(desk: Bench, symbol: str) -> bool:
    await desk.adapter.quotes.take()
    return list(desk.face.watched) == [symbol]


async def test_a_broker_that_forgot_what_was_asked_is_asked_again(desk: Bench) -> None:
    first = desk.face.watched["AAPL"]
    desk.face.notice(1100, "Connectivity between IB and TWS has been lost.")
    desk.face.notice(1101, "Connectivity has been restored - data lost.")
    await eventually(lambda: _again(desk, first))
    assert await heard(desk, (LAST, "21")) == ["21"]


async def _again(desk: Bench, first: int) -> bool:
    await desk.adapter.quotes.take()
    return desk.face.watched["AAPL"] != first


async def test_a_refusal_leaves_the_instrument_without_a_price(desk: Bench) -> None:
    request_id = desk.face.watched["AAPL"]
    desk.face.notice(354, "Requested market data is not subscribed.", request_id)
    await settled(desk)
    quotes: list[Quote] = await desk.adapter.quotes.take()
    assert quotes == []
    assert desk.adapter.is_ready
