"""What open orders bind at most is kept with the stream: too much perhaps, never too little."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from fixtures_postgres import make_instrument, set_price
from sp_world import World, desk, new_id, place_many, stamp

__all__ = ["desk"]

Bound = tuple[Decimal | int | None, ...]
TOO_MUCH = "UPDATE app.streams SET open_bound = (99, 1e9, 1e9, 1e9)"
EXTERNAL = {
    "broker_order_id": "X-1", "symbol": "AAPL", "side": "buy", "order_type": "limit",
    "quantity": "7", "limit_price": "100",
}  # fmt: skip


async def _bound(desk: World, account: int | None = None) -> Bound | None:
    query = "SELECT open_bound FROM app.streams WHERE stream_id = $1"
    found = await desk.root.fetchval(query, account or desk.account)
    return None if found is None else tuple(found)


async def test_placing_raises_it_by_what_each_order_binds(desk: World) -> None:
    assert await _bound(desk) is None, "nobody counted yet"
    await desk.place()
    assert await _bound(desk) == (1, 10, 0, 1000)
    await desk.place(side="sell", quantity=Decimal(3), limit_price=Decimal("101.5"))
    assert await _bound(desk) == (2, 10, 3, Decimal("1304.5"))
    stop = {"order_type": "stop", "limit_price": None, "stop_price": Decimal(105)}
    await desk.place(quantity=Decimal(2), **stop)
    assert await _bound(desk) == (3, 12, 3, Decimal("1514.5"))
    assert await _bound(desk, desk.other) is None, "another account has its own"


async def test_what_is_denied_or_repeated_binds_nothing(desk: World) -> None:
    order = await desk.place()
    denied = await desk.place(quantity=Decimal(100_000))
    assert denied["status"] == "denied"
    replayed = await desk.place(client_order_id=order["client_order_id"])
    assert replayed["replayed"]
    assert await _bound(desk) == (1, 10, 0, 1000)


async def test_a_batch_raises_it_for_each_of_its_accounts(desk: World) -> None:
    await desk.place()
    await desk.place(account_id=desk.other)
    twice = desk.request()
    rows = await place_many(
        desk.api,
        [
            twice,
            desk.request(quantity=Decimal(100_000)),
            twice,
            desk.request(account_id=desk.other, side="sell", quantity=Decimal(4)),
            desk.request(limit_price=Decimal("99.99")),
            desk.request(quantity=Decimal(100_001)),
        ],
    )
    assert [row["status"] for row in rows] == ["new", "denied", "new", "new", "new", "denied"]
    assert await _bound(desk) == (3, 30, 0, Decimal("2999.90"))
    assert await _bound(desk, desk.other) == (2, 10, 4, 1400)


async def test_without_a_price_that_stays_it_is_not_known(desk: World) -> None:
    market: dict[str, Any] = {"order_type": "market", "limit_price": None}
    await desk.place()
    order = await desk.place(**market)
    assert await _bound(desk) == (2, 20, 0, None)
    await desk.place()
    assert await _bound(desk) == (3, 30, 0, None), "one at the market is still open"
    await desk.cancel(order["order_id"])
    assert await desk.status(order["order_id"]) == "canceled"
    await desk.place()
    assert await _bound(desk) == (3, 30, 0, 3000), "counted anew, and this one"


async def test_an_order_in_another_currency_leaves_it_unknown(desk: World) -> None:
    await make_instrument(desk.migrate, "SAP", currency="EUR")
    await set_price(desk.migrate, "SAP", "100")
    await desk.migrate.execute(
        "SELECT app.sp_fx_rates_put('system:test', 'ecb', 'EUR', $1::jsonb)",
        json.dumps([{"quote": "USD", "rate_date": str(datetime.now(UTC).date()), "rate": "1.1"}]),
    )
    order = await desk.place(symbol="SAP")
    assert order["status"] == "new"
    assert await _bound(desk) == (1, 10, 0, None)


async def test_it_is_counted_anew_when_it_would_deny(desk: World) -> None:
    order = await desk.place()
    await desk.cancel(order["order_id"])
    await desk.root.execute(TOO_MUCH)
    assert (await desk.place())["status"] == "new"
    assert await _bound(desk) == (1, 10, 0, 1000)


async def test_a_batch_counts_it_anew_when_it_would_deny_one(desk: World) -> None:
    await desk.place()
    await desk.root.execute(TOO_MUCH)
    rows = await place_many(desk.api, [desk.request(), desk.request(side="sell")])
    assert [row["status"] for row in rows] == ["new", "new"]
    assert await _bound(desk) == (3, 20, 10, 3000)


async def test_while_it_lets_pass_no_order_is_counted(desk: World) -> None:
    for _ in range(3):
        await desk.place()
    # A bound that is less than the truth shows which of the two was asked.
    await desk.root.execute("UPDATE app.streams SET open_bound = (0, 0, 0, 0)")
    await desk.place()
    assert await _bound(desk) == (1, 10, 0, 1000)


@pytest.mark.parametrize(
    ("quantity", "price", "known"), [(20, 100, False), (10, 105, False), (5, 95, True)]
)
async def test_a_replace_that_binds_more_makes_it_unknown(
    desk: World, quantity: int, price: int, known: bool
) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "accepted")
    await desk.replace(order["order_id"], quantity=Decimal(quantity), limit_price=Decimal(price))
    assert await desk.status(order["order_id"]) == "pending_replace"
    assert (await _bound(desk) is not None) is known
    await desk.assert_whole()
    await desk.place(quantity=Decimal(1))
    larger, higher = max(quantity, 10), max(price, 100)
    assert await _bound(desk) == (2, larger + 1, 0, larger * higher + 100)


@pytest.mark.parametrize(("filled", "change"), [(6, "bust"), (6, "correction"), (10, "bust")])
async def test_an_execution_taken_back_makes_it_unknown(
    desk: World, filled: int, change: str
) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, str(filled), exec_id="one")
    await desk.place(quantity=Decimal(1))
    assert await _bound(desk) is not None
    if change == "bust":
        await desk.report(order, "bust", exec_id="one")
    else:
        await desk.fill(order, "5", exec_id="one", exec_revision=1)
    assert await desk.status(order["order_id"]) != "filled"
    assert await _bound(desk) is None


async def test_an_order_found_at_the_broker_makes_it_unknown(desk: World) -> None:
    await desk.place()
    event = {
        "sequence": 1, "event_id": new_id(), "kind": "order_event", "client_order_id": None,
        "occurred_at": stamp(), "status": "accepted", "external": EXTERNAL,
    }  # fmt: skip
    await desk.put([event])
    assert await desk.apply_pending() == ["applied"]
    assert await _bound(desk) is None
    await desk.place()
    assert await _bound(desk) == (3, 27, 0, 2700)


async def test_the_last_word_is_exact(desk: World) -> None:
    """An account that is full by its bound and not by its orders is not full."""
    await desk.root.execute("UPDATE app.risk_limits SET open_orders_max = 2")
    first = await desk.place()
    await desk.place()
    assert (await desk.place())["reason_code"] == "OPEN_ORDERS_EXCEED_MAX"
    await desk.cancel(first["order_id"])
    assert (await desk.place())["status"] == "new"
    assert (await desk.place())["reason_code"] == "OPEN_ORDERS_EXCEED_MAX"
