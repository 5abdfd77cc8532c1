"""An order is changed once: here when it never left, else by the venue, asked after in doubt."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import make_user, set_price
from sp_world import World, desk, new_id, refused, stamp

__all__ = ["desk"]

LATER_S = 60.0  # beyond the validity of any send of these tests


async def _working(desk: World, **changes: Any) -> asyncpg.Record:
    order = await desk.submit(**changes)
    await desk.venue(order, "accepted")
    return order


async def _values(desk: World, order: asyncpg.Record) -> tuple[Any, ...]:
    row = await desk.order(order["order_id"])
    return (row["status"], row["quantity"], row["limit_price"], row["pending_quantity"])


async def _answer(desk: World, order: asyncpg.Record, **fields: Any) -> str:
    fields = {"known": True, "status": "accepted", "occurred_at": stamp(LATER_S), **fields}
    return await desk.report(order, "order_state", broker_order_id="B-1", **fields)


async def test_what_never_left_is_changed_at_once_and_sent_as_it_is_then(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    answer = await desk.replace(order["order_id"], quantity=Decimal(7), limit_price=Decimal("99"))
    assert (answer["status"], answer["replace_denied"]) == ("new", None)
    assert await _values(desk, order) == ("new", 7, 99, None)
    (send,) = await desk.begin()
    assert (send["action"], send["quantity"], send["limit_price"]) == ("place", 7, 99)
    await desk.finish(send, "not_sent")
    await desk.replace(order["order_id"], quantity=Decimal(8))
    assert await _values(desk, order) == ("submitting", 8, 99, None)
    await desk.assert_whole()


async def test_a_working_order_is_changed_by_the_venue(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    answer = await desk.replace(order["order_id"], quantity=Decimal(20))
    assert answer["status"] == "pending_replace"
    assert await _values(desk, order) == ("pending_replace", 10, 100, 20)
    send = await desk.send()
    assert (send["action"], send["kind"]) == ("replace", "order.replace.v1")
    assert (send["quantity"], send["limit_price"], send["stop_price"]) == (20, None, None)
    assert await desk.outbox() == []
    assert await desk.status(order["order_id"]) == "pending_replace"
    assert await desk.venue(order, "accepted") == "stale", "a sign of life ends nothing"
    assert await desk.venue(order, "replaced", quantity="20", limit_price="100") == "applied"
    assert await _values(desk, order) == ("accepted", 20, 100, None)
    assert await desk.fill(order, "20", status="filled") == "applied"
    await desk.assert_whole()


async def test_a_replace_that_is_rejected_leaves_the_order_as_it_was(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.fill(order, "4")
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send()
    assert await desk.report(order, "replace_rejected", reason="UNKNOWN_ORDER") == "stale"
    assert await desk.report(order, "replace_rejected", reason="TOO_LATE") == "applied"
    assert await _values(desk, order) == ("partially_filled", 10, 100, None)
    assert (await desk.order(order["order_id"]))["reason_code"] == "TOO_LATE"
    assert await desk.report(order, "replace_rejected", reason="TOO_LATE") == "stale"
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send("definite_reject")
    assert await _values(desk, order) == ("partially_filled", 10, 100, None)


async def test_a_replace_of_unknown_outcome_is_asked_after_and_never_sent_again(
    desk: World,
) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    assert (await desk.send("unknown"))["action"] == "replace"
    for _ in range(2):
        await desk.unpark()
        assert (await desk.send("accepted"))["action"] == "query"
    (row,) = await desk.outbox()
    assert (row["kind"], row["last_outcome"]) == ("order.replace.v1", "unknown")
    assert await _answer(desk, order, quantity="20", limit_price="100") == "applied"
    assert await _values(desk, order) == ("accepted", 20, 100, None)
    assert await desk.outbox() == []


async def test_a_replace_that_the_route_can_no_longer_take_is_dropped(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send("unknown")
    early = {"quantity": "10", "limit_price": "100"}
    assert await _answer(desk, order, **early, occurred_at=stamp()) == "stale"
    assert await desk.status(order["order_id"]) == "pending_replace"
    assert await _answer(desk, order, **early) == "applied"
    assert await _values(desk, order) == ("accepted", 10, 100, None)
    assert (await desk.order(order["order_id"]))["reason_code"] == "REPLACE_NOT_APPLIED"
    assert await desk.outbox() == []


async def test_a_replace_that_was_interrupted_is_asked_after(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], limit_price=Decimal("101"))
    (send,) = await desk.begin()
    assert (send["quantity"], send["limit_price"]) == (None, 101)
    await desk.interrupt()
    assert [send["action"] for send in await desk.begin()] == ["query"]


async def test_a_command_that_came_too_late_is_owed_again(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send()
    rejected = {"command": "ReplaceOrder", "reason": "EXPIRED"}
    assert await desk.report(order, "command_rejected", **rejected) == "applied"
    await desk.unpark()
    assert (await desk.send())["action"] == "replace"
    rejected["reason"] = "BAD_SIGNATURE"
    assert await desk.report(order, "command_rejected", **rejected) == "applied"
    assert await _values(desk, order) == ("accepted", 10, 100, None)


async def test_a_cancel_overtakes_a_replace_and_ends_it(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send("unknown")
    await desk.cancel(order["order_id"])
    assert (await desk.send())["action"] == "cancel", "the lane is parked, the cancel passes"
    assert await desk.venue(order, "canceled") == "applied"
    await desk.unpark()
    assert await desk.begin() == []
    assert await desk.outbox() == []
    again = await _working(desk)
    await desk.replace(again["order_id"], quantity=Decimal(20))
    await desk.cancel(again["order_id"])
    assert [row["kind"] for row in await desk.outbox()] == ["order.cancel.v1"]


async def test_a_replace_that_got_through_before_the_cancel_counts(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send()
    await desk.cancel(order["order_id"])
    assert await desk.venue(order, "replaced", quantity="20") == "applied"
    assert await _values(desk, order) == ("pending_cancel", 20, 100, None)
    assert await desk.fill(order, "15") == "applied"
    assert await desk.venue(order, "canceled") == "applied"
    await desk.assert_whole()


async def test_a_fill_that_only_the_larger_order_can_have_proves_the_replace(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send()
    assert await desk.fill(order, "15") == "applied"
    assert await _values(desk, order) == ("pending_replace", 20, 100, None)
    assert await desk.venue(order, "replaced", quantity="20") == "applied"
    assert await _values(desk, order) == ("partially_filled", 20, 100, None)


async def test_an_order_that_filled_before_we_heard_that_it_is_larger_works_again(
    desk: World,
) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send()
    assert await desk.fill(order, "10") == "applied"
    assert await desk.status(order["order_id"]) == "pending_replace", "ten of perhaps twenty"
    assert await desk.venue(order, "filled") == "applied"
    assert await desk.status(order["order_id"]) == "filled"
    assert await desk.venue(order, "replaced", quantity="20") == "applied"
    assert await _values(desk, order) == ("partially_filled", 20, 100, None)
    assert [row["kind"] for row in await desk.outbox()] == ["order.query.v1"]
    await desk.assert_whole()


async def test_a_smaller_size_than_has_filled_is_what_has_filled(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(5))
    await desk.send()
    await desk.fill(order, "6")
    assert await desk.venue(order, "replaced", quantity="5") == "applied"
    assert await _values(desk, order) == ("filled", 6, 100, None)
    await desk.assert_whole()


DENIALS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"quantity": Decimal(1001)}, "ORDER_QUANTITY_EXCEEDS_MAX", "500"),
    ({"quantity": Decimal(501)}, "ORDER_NOTIONAL_EXCEEDS_MAX", "500"),
    ({"limit_price": Decimal("111")}, "PRICE_OUTSIDE_COLLAR", None),
    ({"limit_price": Decimal("100.005")}, "PRICE_NOT_ON_TICK", None),
    ({"quantity": Decimal("9.5")}, "QUANTITY_NOT_ON_LOT", None),
]


@pytest.mark.parametrize(("change", "code", "largest"), DENIALS)
async def test_a_denied_replace_leaves_the_order_is_audited_and_answers_the_same_again(
    desk: World, change: dict[str, Any], code: str, largest: str | None
) -> None:
    order = await desk.place()
    key = new_id()
    for replayed in (False, True):
        answer = await desk.replace(order["order_id"], key, **change)
        assert (answer["replace_denied"], answer["replayed"]) == (code, replayed)
        assert answer["status"] == "new"
        assert answer["quantity_max"] == (largest and Decimal(largest))
    assert await _values(desk, order) == ("new", 10, 100, None)
    query = "SELECT count(*) FROM audit.audit_log WHERE action = 'order.replace_denied'"
    assert await desk.root.fetchval(query) == 1
    assert (await desk.order(order["order_id"]))["quantity_max"] is None
    await desk.assert_whole()


async def test_what_only_shrinks_passes_a_halt_and_what_grows_does_not(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.set_state("global", 0, "halted")
    answer = await desk.replace(order["order_id"], quantity=Decimal(11))
    assert answer["replace_denied"] == "TRADING_HALTED"
    answer = await desk.replace(order["order_id"], quantity=Decimal(9))
    assert (answer["status"], answer["replace_denied"]) == ("pending_replace", None)
    assert (await desk.send())["action"] == "replace"


async def test_a_replace_is_checked_again_right_before_the_wire(desk: World) -> None:
    await desk.acquire()
    for moment, code in (
        ("UPDATE app.risk_limits SET order_quantity_max = 15", "ORDER_QUANTITY_EXCEEDS_MAX"),
        (
            "UPDATE app.events_outbox SET created_at = now() - interval '121 s'",
            "EXPIRED_BEFORE_SEND",
        ),
    ):
        order = await _working(desk, account_id=desk.account)
        await desk.replace(order["order_id"], quantity=Decimal(20))
        await desk.root.execute(moment)
        assert await desk.begin() == []
        assert await _values(desk, order) == ("accepted", 10, 100, None)
        assert (await desk.order(order["order_id"]))["reason_code"] == code
        assert await desk.outbox() == []
        await desk.root.execute("UPDATE app.risk_limits SET order_quantity_max = 1000")


async def test_without_a_fresh_price_a_replace_waits_and_cancels_pass(desk: World) -> None:
    await desk.acquire()
    order, other = await _working(desk), await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.root.execute("UPDATE market.last_prices SET received_at = now() - interval '1 h'")
    assert await desk.begin() == []
    await desk.cancel(other["order_id"])
    assert (await desk.send())["action"] == "cancel"
    await set_price(desk.migrate, "AAPL", "100")
    assert (await desk.send())["action"] == "replace"


async def test_the_same_key_answers_the_same_and_another_request_is_refused(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    key = new_id()
    await desk.replace(order["order_id"], key, quantity=Decimal(20))
    again = await desk.replace(order["order_id"], key, quantity=Decimal("20.0"))
    assert (again["status"], again["replayed"]) == ("pending_replace", True)
    assert len(await desk.outbox()) == 1
    with refused("IN422", "idempotency_key_reused"):
        await desk.replace(order["order_id"], key, quantity=Decimal(21))
    await desk.send()
    await desk.venue(order, "replaced", quantity="20")
    again = await desk.replace(order["order_id"], key, quantity=Decimal(20))
    assert (again["status"], again["replayed"]) == ("accepted", True)


async def test_what_cannot_be_replaced_is_refused(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    (send,) = await desk.begin()
    change = {"quantity": Decimal(20)}
    for outcome in (None, "unknown"):
        if outcome:
            await desk.finish(send, outcome)
        with refused("IN409", "order_not_replaceable"):
            await desk.replace(order["order_id"], **change)
    await desk.venue(order, "accepted")
    await desk.fill(order, "4")
    for quantity in (3, 4):
        with refused("IN409", "quantity_below_filled"):
            await desk.replace(order["order_id"], quantity=Decimal(quantity))
    for nothing in (
        *({}, {"quantity": Decimal(10)}),
        {"quantity": Decimal("10.0"), "limit_price": Decimal(100)},
    ):
        with refused("IN422", "replace_empty"):
            await desk.replace(order["order_id"], **nothing)
    with refused("IN422", "price_invalid"):
        await desk.replace(order["order_id"], stop_price=Decimal(1))
    await desk.replace(order["order_id"], **change)
    with refused("IN409", "order_not_replaceable"):
        await desk.replace(order["order_id"], quantity=Decimal(30))
    await desk.cancel(order["order_id"])
    for status in (None, "canceled"):
        if status:
            await desk.venue(order, status)
        with refused("IN409", "order_not_replaceable"):
            await desk.replace(order["order_id"], **change)


async def test_who_may_not_trade_may_not_replace(desk: World) -> None:
    order = await desk.place()
    viewer, admin = await make_user(desk.migrate, "viewer"), await make_user(desk.migrate, "admin")
    change = {"quantity": Decimal(20)}
    with refused("IN404", "order_not_found"):
        await desk.replace(order["order_id"], user_id=desk.stranger, **change)
    with refused("IN403", "role_not_allowed"):
        await desk.replace(order["order_id"], user_id=viewer, **change)
    with refused("IN401", "user_unknown"):
        await desk.replace(order["order_id"], user_id=None, **change)
    with refused("IN404", "order_not_found"):
        await desk.replace(order["order_id"], user_id=admin, **change)
    assert await _values(desk, order) == ("new", 10, 100, None)


async def test_a_replaced_order_that_the_venue_does_not_know_is_lost(desk: World) -> None:
    await desk.acquire()
    order = await _working(desk)
    await desk.replace(order["order_id"], quantity=Decimal(20))
    await desk.send("unknown")
    await desk.report(order, "order_state", known=False, occurred_at=stamp(LATER_S))
    assert await desk.status(order["order_id"]) == "lost"
    await desk.unpark()
    assert [send["action"] for send in await desk.begin(valid=timedelta(seconds=1))] == []
