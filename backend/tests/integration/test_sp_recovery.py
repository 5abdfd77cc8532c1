"""What is missing is asked after: absence is proved, never assumed, and what was lost is found."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from sp_world import World, desk, new_id, refused, stamp

__all__ = ["desk"]

LATER_S = 60.0  # beyond the validity of any send of these tests


async def _audited(desk: World, action: str) -> int:
    query = "SELECT count(*) FROM audit.audit_log WHERE action = $1"
    return int(await desk.root.fetchval(query, action))


async def _state(desk: World, order: asyncpg.Record, **fields: Any) -> str:
    fields = {"known": True, "occurred_at": stamp(LATER_S), **fields}
    return await desk.report(order, "order_state", **fields)


def _execution(exec_id: str, quantity: str, **fields: Any) -> dict[str, Any]:
    return {
        **{"exec_id": exec_id, "quantity": quantity, "price": "100", "fee": "1"},
        **{"fee_currency": "USD", "executed_at": stamp(), **fields},
    }


async def test_an_order_that_the_bridge_does_not_know_is_sent_again_once_that_proves_absence(
    desk: World,
) -> None:
    await desk.acquire()
    order = await desk.place()
    await desk.send("unknown")
    assert await _state(desk, order, known=False, occurred_at=stamp()) == "stale"
    assert await desk.begin() == []
    assert await _state(desk, order, known=False) == "applied"
    (send,) = await desk.begin()
    assert (send["action"], send["attempts"]) == ("place", 2)
    await desk.finish(send, "accepted")
    assert await desk.status(order["order_id"]) == "submitted"

    assert await _state(desk, order, known=False) == "applied", "the command was lost"
    assert await desk.status(order["order_id"]) == "submit_unknown"
    (send,) = await desk.begin()
    assert (send["action"], send["order_id"]) == ("place", order["order_id"])
    assert await desk.status(order["order_id"]) == "submitting"
    await desk.assert_whole()


@pytest.mark.parametrize("outcome", ["not_sent", "throttled", "auth", "accepted", "unknown"])
async def test_what_became_of_a_question_is_not_taken_for_what_became_of_the_place_after_it(
    desk: World, outcome: str
) -> None:
    await desk.acquire()
    order = await desk.place()
    await desk.send("unknown")
    await desk.unpark()
    (question,) = await desk.begin()
    assert question["action"] == "query"
    assert await _state(desk, order, known=False) == "applied", (
        "quicker than the question's own end"
    )
    (place,) = await desk.begin()
    assert (place["action"], place["epoch"]) == ("place", question["epoch"])

    assert await desk.finish(question, outcome) == 0
    assert await desk.status(order["order_id"]) == "submitting"
    await desk.unpark()
    assert await desk.begin() == [], "it is on the wire already"
    assert await desk.finish(place, "accepted") == 1
    assert await desk.status(order["order_id"]) == "submitted"
    await desk.assert_whole()


async def test_an_absent_order_whose_time_is_over_is_rejected(desk: World) -> None:
    await desk.acquire()
    waiting = await desk.place()
    await desk.send("unknown")
    submitted = await desk.submit(account_id=desk.other)
    await desk.root.execute("UPDATE app.orders SET created_at = now() - interval '121 s'")
    for order, account in ((waiting, desk.account), (submitted, desk.other)):
        event = desk.event(order, "order_state", known=False, occurred_at=stamp(LATER_S))
        await desk.put([event], account=account)
        assert await desk.apply_pending() == ["applied"]
        row = await desk.order(order["order_id"])
        assert (row["status"], row["reason_code"]) == ("rejected", "EXPIRED_BEFORE_SEND")
    assert await desk.outbox() == []


async def test_a_place_that_turns_out_known_is_done_and_opens_its_lane(desk: World) -> None:
    await desk.acquire()
    order, following = await desk.place(), await desk.place()
    await desk.send("unknown")
    assert await desk.begin() == []
    assert await _state(desk, order, status="accepted", broker_order_id="B-9") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["broker_order_id"]) == ("accepted", "B-9")
    assert [send["order_id"] for send in await desk.begin()] == [following["order_id"]]


async def test_a_working_order_that_vanished_is_lost_and_found_again(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "accepted")
    assert await _state(desk, order, known=False) == "illegal"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["reason_code"]) == ("lost", "ABSENT_AT_BROKER")
    assert await _audited(desk, "broker.absent") == 1
    assert await desk.outbox() == []
    assert await desk.fill(order, "10", status="filled") == "applied"
    assert await desk.status(order["order_id"]) == "filled"


async def test_a_bridge_that_cannot_tell_any_more_makes_the_order_lost(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    silent = await desk.submit()
    assert await _state(desk, silent, status=None) == "stale", "the venue has said nothing yet"
    assert await desk.status(silent["order_id"]) == "submitted"
    assert await _state(desk, order, status=None, reason="AMBIGUOUS") == "applied"
    assert await desk.status(order["order_id"]) == "lost"


async def test_a_command_that_came_too_late_or_to_another_epoch_is_sent_again(
    desk: World,
) -> None:
    await desk.acquire()
    order = await desk.submit()
    place = {"command": "PlaceOrder", "command_id": "1"}
    early = await desk.report(order, "command_rejected", **place, reason="EXPIRED")
    assert early == "stale", "another copy of the command may still be taken"
    for fields in (
        {"reason": "EXPIRED", "occurred_at": stamp(LATER_S)},
        {"reason": "WRONG_EPOCH"},
    ):
        assert await desk.report(order, "command_rejected", **place, **fields) == "applied"
        assert await desk.begin() == [], "after a moment"
        await desk.unpark()
        assert (await desk.send())["action"] == "place"
    assert await desk.status(order["order_id"]) == "submitted"
    assert await desk.report(order, "command_rejected", **place, reason="INVALID") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["reason_code"]) == ("rejected", "INVALID")


async def test_a_refused_repeat_says_nothing_about_an_order_that_works(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "accepted")
    for reason in ("EXPIRED", "WRONG_EPOCH", "BAD_SIGNATURE"):
        fields = {"command": "PlaceOrder", "reason": reason, "occurred_at": stamp(LATER_S)}
        assert await desk.report(order, "command_rejected", **fields) == "stale"
    assert await desk.status(order["order_id"]) == "accepted"
    assert await desk.outbox() == []


async def test_a_refused_cancel_puts_the_order_back_to_work(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "accepted")
    assert await desk.report(order, "cancel_rejected", reason="TOO_LATE") == "stale"
    await desk.cancel(order["order_id"])
    await desk.send()
    assert await desk.venue(order, "accepted") == "stale", "a sign of life undoes no cancel"
    assert await desk.fill(order, "4") == "applied"
    assert await desk.status(order["order_id"]) == "pending_cancel"
    assert await desk.report(order, "cancel_rejected", reason="TOO_LATE") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["reason_code"]) == ("partially_filled", "TOO_LATE")
    await desk.cancel(order["order_id"])
    await desk.send()
    assert await desk.fill(order, "6") == "applied"
    assert await desk.status(order["order_id"]) == "filled"
    assert await desk.venue(order, "canceled") == "stale"


async def test_a_cancel_that_left_no_trace_is_sent_again(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.cancel(order["order_id"])
    await desk.send()
    for refusal in ("EXPIRED", "WRONG_EPOCH"):
        fields = {"command": "CancelOrder", "reason": refusal}
        assert await desk.report(order, "command_rejected", **fields) == "applied"
        await desk.unpark()
        assert (await desk.send())["action"] == "cancel"
    assert await _state(desk, order, status="accepted") == "applied"
    assert await _state(desk, order, status="accepted") == "stale", "one at a time"
    assert (await desk.send())["action"] == "cancel"
    assert await desk.status(order["order_id"]) == "pending_cancel"


async def test_a_cancel_of_what_never_arrived_is_done_once_absence_is_proved(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.cancel(order["order_id"])
    await desk.send()
    unknown = {"reason": "UNKNOWN_ORDER", "occurred_at": stamp(LATER_S)}
    assert await desk.report(order, "cancel_rejected", **unknown) == "stale"
    assert await desk.status(order["order_id"]) == "pending_cancel"
    assert await _state(desk, order, known=False) == "applied"
    assert await desk.status(order["order_id"]) == "canceled"
    assert await desk.outbox() == []


async def test_a_refused_cancel_command_puts_the_order_back(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.cancel(order["order_id"])
    await desk.send()
    fields = {"command": "CancelOrder", "reason": "BAD_SIGNATURE"}
    assert await desk.report(order, "command_rejected", **fields) == "applied"
    assert await desk.status(order["order_id"]) == "submitted"
    fields = {"command": "QueryOrder", "reason": "EXPIRED"}
    assert await desk.report(order, "command_rejected", **fields) == "stale"


async def test_silence_is_asked_after_by_the_schedule(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    query = "SELECT app.sp_query_inflight($1, $2)"
    assert await desk.worker.fetchval(query, desk.owner, timedelta(seconds=3)) == 0
    for number, seconds in enumerate((1, 2, 5, 10, 30, 30)):
        assert await desk.worker.fetchval(query, desk.owner, timedelta()) == 1, number
        assert await desk.worker.fetchval(query, desk.owner, timedelta()) == 0, "one at a time"
        row = await desk.order(order["order_id"])
        wait_s = await desk.root.fetchval(
            "SELECT extract(EPOCH FROM $1::timestamptz - clock_timestamp())::float",
            row["next_query_at"],
        )
        assert seconds - 0.5 < wait_s <= seconds
        assert (await desk.send())["action"] == "query"
        assert await desk.worker.fetchval(query, desk.owner, timedelta()) == 0, "not yet due"
        await desk.root.execute("UPDATE app.orders SET next_query_at = now()")
    await desk.venue(order, "accepted")
    assert await desk.worker.fetchval(query, desk.owner, timedelta()) == 0, "a limit order rests"
    await desk.cancel(order["order_id"])
    await desk.send()
    assert await desk.worker.fetchval(query, desk.owner, timedelta()) == 1
    market = await desk.place(order_type="market", limit_price=None, account_id=desk.other)
    for send in await desk.begin():
        await desk.finish(send, "accepted")
    await desk.put(
        [desk.event(market, "order_event", status="accepted", broker_order_id="B-2")],
        account=desk.other,
    )
    await desk.apply_pending()
    assert await desk.worker.fetchval(query, desk.owner, timedelta()) == 1, (
        "a market order does not"
    )
    with refused("IN422", "after_invalid"):
        await desk.worker.fetchval(query, desk.owner, timedelta(seconds=-1))


async def test_an_answer_books_what_we_missed_and_names_what_it_cannot(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "2", exec_id="x1", fee="1")
    executions = [_execution("x1", "2"), _execution("x2", "3"), _execution("x3", "-1")]
    answer = await _state(desk, order, status="partially_filled", executions=executions)
    assert answer == "invalid"
    assert (await desk.order(order["order_id"]))["cum_quantity"] == 5
    for executions in ([_execution("x2", "3"), _execution("x4", "1")], [_execution("x5", "4")]):
        assert await _state(desk, order, status="filled", executions=executions) == "applied"
    assert await desk.status(order["order_id"]) == "filled"
    gap = await desk.submit()
    assert await _state(desk, gap, status="filled") == "illegal", "and the venue names no fill"
    assert await _audited(desk, "broker.fill_gap") == 1
    await desk.assert_whole()


async def test_a_database_put_back_to_before_the_send_believes_the_venue(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    assert await desk.fill(order, "10", status="filled", exec_id=new_id()) == "applied"
    assert await desk.status(order["order_id"]) == "filled"
    assert await desk.begin() == []
    assert await desk.outbox() == []
