"""Orders that were placed elsewhere are imported once, booked, and never sent anything."""

import json
from decimal import Decimal
from typing import Any

import asyncpg
from sp_world import World, desk, new_id, refused, stamp

__all__ = ["desk"]

ORDER = {"symbol": "AAPL", "side": "buy", "order_type": "limit", "quantity": "10"}


async def _report(desk: World, external: Any, **fields: Any) -> str:
    desk.sequence += 1
    event = {
        **{"sequence": desk.sequence, "event_id": f"event-{desk.sequence}"},
        **{"kind": "order_event", "client_order_id": None, "occurred_at": stamp()},
        **{"external": external, "status": "accepted", **fields},
    }
    source = await desk.source(desk.account)
    await desk.api.fetchval(
        "SELECT app.sp_inbox_put($1, 'L-1', 1, $2::jsonb, '{}'::jsonb)", source, json.dumps([event])
    )
    (outcome,) = await desk.apply_pending()
    return outcome


async def _orders(desk: World) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await desk.root.fetch("SELECT * FROM app.orders ORDER BY order_id")
    return rows


async def test_an_order_placed_elsewhere_is_imported_once_and_its_fills_are_booked(
    desk: World,
) -> None:
    external = {**ORDER, "broker_order_id": "B-77", "limit_price": "99"}
    assert await _report(desk, external) == "applied"
    assert await _report(desk, external) == "stale"
    fill = {"exec_id": "x", "fill_quantity": "10", "fill_price": "99", "fee": "1"}
    assert await _report(desk, external, status="filled", **fill) == "applied"
    (order,) = await _orders(desk)
    assert (order["origin"], order["created_by"], order["status"]) == ("external", None, "filled")
    assert order["client_order_id"].startswith("ext-")
    assert (order["broker_order_id"], order["cum_quantity"]) == ("B-77", 10)
    assert await desk.root.fetchval("SELECT quantity FROM app.positions") == 10
    shard = await desk.root.fetchval("SELECT DISTINCT shard FROM app.inbox")
    assert shard == desk.account % 16
    await desk.assert_whole()


async def test_nothing_is_ever_sent_for_it(desk: World) -> None:
    await desk.acquire()
    external = {**ORDER, "broker_order_id": "B-77", "limit_price": "99"}
    for status in ("accepted", "submitted"):
        await _report(desk, {**external, "broker_order_id": status}, status=status)
    await _report(desk, external, status="filled")
    await desk.root.execute("UPDATE app.orders SET updated_at = now() - interval '1 h'")
    assert await desk.worker.fetchval("SELECT app.sp_query_inflight($1, '0')", desk.owner) == 0
    order = (await _orders(desk))[0]
    with refused("IN409", "order_not_cancelable"):
        await desk.cancel(order["order_id"])
    with refused("IN409", "order_not_replaceable"):
        await desk.replace(order["order_id"], quantity=Decimal(20))
    assert await desk.cancel_all() == 0
    assert await desk.outbox() == []


async def test_an_order_of_ours_that_comes_without_our_name_is_found_by_the_brokers(
    desk: World,
) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "accepted", broker_order_id="B-7")
    assert await _report(desk, {**ORDER, "broker_order_id": "B-7"}, status="canceled") == "applied"
    assert await desk.status(order["order_id"]) == "canceled"
    assert len(await _orders(desk)) == 1


async def test_what_cannot_be_read_is_recorded_and_the_lane_goes_on(desk: World) -> None:
    good = {**ORDER, "broker_order_id": new_id(), "limit_price": "99"}
    for change in (
        *({"symbol": "NOPE"}, {"symbol": None}, {"side": "hold"}, {"quantity": "0"}),
        *({"quantity": None}, {"limit_price": None}, {"order_type": "iceberg"}),
        *({"broker_order_id": None}, {"broker_order_id": ""}, {"quantity": "NaN"}),
        {"time_in_force": "opg"},
    ):
        assert await _report(desk, {**good, **change}) == "invalid", change
    strange: list[Any] = [None, [], "x", 1]
    for external in strange:
        assert await _report(desk, external) == "unmatched", external
    assert await _orders(desk) == []
    until = {"time_in_force": "gtd"}
    assert await _report(desk, {**good, **until}) == "applied"
    assert (await _orders(desk))[0]["time_in_force"] == "gtc"
    await desk.assert_whole()
