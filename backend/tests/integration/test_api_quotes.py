"""Prices by the thousand: which mark they move, and what a repetition changes."""

import json
from typing import Any

import pytest
from api_world import World, needs_hot_store
from fixtures_postgres import make_instrument
from series_kit import ARROW, NDJSON, QUOTE_SCHEMA, Sender, counts, lines, place, quote, stream


@pytest.fixture
async def sender(world: World) -> Sender:
    """Our own worker, in a world that knows AAPL and MSFT."""
    for symbol in ("AAPL", "MSFT"):
        await make_instrument(world.migrate, symbol)
    return Sender(world)


async def marks(world: World) -> dict[str, Any]:
    """Return price and time of receipt of every mark."""
    rows = await world.rows(
        "SELECT symbol, price, received_at FROM market.last_prices"
        " JOIN app.instruments USING (instrument_id)"
    )
    return {row["symbol"]: (row["price"], row["received_at"]) for row in rows}


async def test_the_same_quotes_again_make_no_old_price_look_new(
    world: World, sender: Sender
) -> None:
    # A quote each 5 s, the newest of half a minute ago.
    rows = [quote(30 + 5 * number, price=f"{number + 1}") for number in range(100)]
    ways = ((stream(rows, QUOTE_SCHEMA), ARROW), (lines(rows), NDJSON))
    first, again = [await sender.send("quotes", body, way) for body, way in ways]
    assert (counts(first), first.json()["marks"]) == ((100, 100, 0, 0), 1)
    before = await marks(world)
    assert before["AAPL"][0] == 1
    assert (counts(again), again.json()["marks"]) == ((100, 0, 100, 0), 0)
    assert await marks(world) == before


async def test_of_five_seconds_the_first_is_kept_and_the_last_is_the_mark(
    world: World, sender: Sender
) -> None:
    rows = [quote(60 - number / 100, price=f"{number + 1}") for number in range(100)]
    rows += [quote(60, symbol="NOPE")]
    answer = await sender.quotes(*rows)
    received, inserted, unchanged, replaced = counts(answer)
    # One second of quotes lies in one or in two spans of five.
    assert (received, inserted + unchanged, replaced, inserted in (1, 2)) == (101, 100, 0, True)
    assert answer.json()["unknown_symbols"] == ["NOPE"]
    [kept, *_] = await world.rows("SELECT price FROM market.quotes ORDER BY quote_at")
    assert (kept["price"], (await marks(world))["AAPL"][0]) == (1, 100)


async def test_one_bad_quote_refuses_all(world: World, sender: Sender) -> None:
    for change, kind in (
        ({"price": "0"}, None),
        ({"price": "1.123456789"}, None),
        ({"at": "1850-01-01T00:00:00Z"}, "at_out_of_range"),
        ({"reset": "yes"}, None),
    ):
        refused = place(await sender.quotes(quote(), quote(1, **change), quote(2)))
        assert refused[1][:3] == ["body", "quotes", 1], refused
        assert kind in (None, refused[2])
    unknown = await sender.send("quotes", json.dumps({"quotes": [quote()]}).encode(), source="x")
    assert unknown.status_code == 422
    assert await marks(world) == {}


@needs_hot_store
async def test_the_newest_of_each_symbol_is_in_the_hot_store(world: World, sender: Sender) -> None:
    rows = [quote(5, price="7"), quote(1, price="8"), quote(3, symbol="MSFT", price="9")]
    await sender.quotes(*rows, quote(symbol="NOPE"))
    actor = world.app.state.hot_quotes.actor
    prices = {symbol: actor.get("quotes", symbol) for symbol in ("AAPL", "MSFT", "NOPE")}
    assert prices["NOPE"] is None
    assert [json.loads(prices[it].value)["price"] for it in ("AAPL", "MSFT")] == ["8", "9"]
