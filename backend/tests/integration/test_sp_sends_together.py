"""Many lanes in one call: every lane fares as it would alone."""

import json
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import make_account
from sp_world import LIMITS, World, begun, desk

__all__ = ["desk"]

OUTCOMES = ("accepted", "definite_reject", "unknown", "not_sent", "throttled", "accepted", "auth")
STATUSES = {
    "accepted": "submitted",
    "definite_reject": "rejected",
    "unknown": "submit_unknown",
    "not_sent": "submitting",
    "throttled": "submitting",
    "auth": "submitting",
}


async def _finish(desk: World, results: list[dict[str, Any]]) -> int:
    query = "SELECT app.sp_finish_sends($1, $2::jsonb)"
    return int(await desk.worker.fetchval(query, desk.owner, json.dumps(results)))


async def _accounts(desk: World, count: int) -> list[int]:
    return [
        await make_account(desk.migrate, {desk.trader: True}, limits=LIMITS) for _ in range(count)
    ]


async def _history(desk: World, order_id: int) -> list[tuple[str, str, str | None]]:
    rows = await desk.root.fetch(
        "SELECT kind, status_after, detail ->> 'outcome' AS outcome FROM app.order_events"
        " WHERE order_id = $1 ORDER BY order_event_id",
        order_id,
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    "outcomes",
    [
        OUTCOMES,
        OUTCOMES[:2],
        [outcome for outcome in OUTCOMES if outcome != "definite_reject"],
        ["accepted"] * 5,
    ],
)
async def test_each_lane_ends_by_its_own_outcome_and_every_chain_holds(
    desk: World, outcomes: Sequence[str]
) -> None:
    await desk.acquire()
    lanes = len(outcomes)
    orders = [
        (await desk.place(account_id=account))["order_id"]
        for account in await _accounts(desk, lanes)
    ]
    sends = {send["order_id"]: send for send in await desk.begin()}
    assert sorted(sends) == sorted(orders)
    for order_id in orders:
        order = await desk.order(order_id)
        assert (order["status"], order["valid_until"]) == (
            "submitting",
            sends[order_id]["valid_until"],
        )
    results = [
        {
            **begun(sends[order_id]),
            "outcome": outcome, "reason": f"because_{outcome}", "broker_order_id": f"B-{order_id}",
        }
        for order_id, outcome in zip(orders, outcomes, strict=True)
    ]  # fmt: skip
    assert await _finish(desk, [*results, *results]) == lanes, "a result counts once"
    assert await _finish(desk, results) == 0

    for order_id, outcome in zip(orders, outcomes, strict=True):
        order = await desk.order(order_id)
        assert order["status"] == STATUSES[outcome], outcome
        assert order["broker_order_id"] == f"B-{order_id}"
        assert order["reason_code"] == (
            "because_" + outcome if outcome == "definite_reject" else None
        )
        moves = [("begin_send", "submitting", None)]
        if STATUSES[outcome] != "submitting":
            moves.append(("finish_send", STATUSES[outcome], outcome))
        assert await _history(desk, order_id) == moves
    archived = dict(await desk.root.fetch("SELECT order_id, outcome FROM app.events_done"))
    done = ("accepted", "definite_reject")
    assert archived == {
        order_id: outcome
        for order_id, outcome in zip(orders, outcomes, strict=True)
        if outcome in done
    }
    assert {row["order_id"]: row["last_outcome"] for row in await desk.outbox()} == {
        order_id: outcome
        for order_id, outcome in zip(orders, outcomes, strict=True)
        if outcome not in done
    }
    await desk.assert_whole()


async def test_lanes_whose_order_is_refused_leave_the_others_alone(desk: World) -> None:
    await desk.acquire()
    accounts = await _accounts(desk, 6)
    orders = [(await desk.place(account_id=account))["order_id"] for account in accounts]
    await desk.set_state("account", accounts[2], "halted")
    behind = (await desk.place(account_id=accounts[4]))["order_id"]
    await desk.root.execute(
        "UPDATE app.orders SET created_at = now() - interval '1 h' WHERE order_id = $1", orders[4]
    )
    begun = [send["order_id"] for send in await desk.begin()]
    assert begun == [*orders[:2], orders[3], orders[5], behind], "the next of the lane goes at once"
    assert await desk.status(orders[2]) == "canceled"
    assert await desk.status(orders[4]) == "rejected"
    await desk.assert_whole()


async def test_a_lane_that_is_asked_stands_beside_lanes_that_send(desk: World) -> None:
    await desk.acquire()
    accounts = await _accounts(desk, 5)
    asked = [(await desk.place(account_id=account))["order_id"] for account in accounts[:2]]
    begun = await desk.begin()
    await desk.interrupt()
    sent = [(await desk.place(account_id=account))["order_id"] for account in accounts[2:]]
    actions = {send["order_id"]: send["action"] for send in await desk.begin()}
    assert actions == {**dict.fromkeys(asked, "query"), **dict.fromkeys(sent, "place")}
    for send in begun:
        order = await desk.order(send["order_id"])
        # How long the far end may act on the first send has not changed by asking.
        assert (order["status"], order["valid_until"]) == ("submit_unknown", send["valid_until"])
    await desk.assert_whole()


async def test_a_send_repeated_after_it_did_not_leave_is_valid_anew(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    first = await desk.send("not_sent")
    await desk.unpark()
    (again,) = await desk.begin()
    assert again["action"] == "place"
    assert again["valid_until"] > first["valid_until"]
    assert (await desk.order(order["order_id"]))["valid_until"] == again["valid_until"]


async def test_two_results_of_one_lane_count_one_after_the_other(desk: World) -> None:
    """No lane has two sends in flight; whoever says so all the same leaves the chain whole."""
    await desk.acquire()
    orders = [(await desk.place())["order_id"] for _ in range(2)]
    (send,) = await desk.begin()
    await desk.root.execute(
        "UPDATE app.events_outbox SET last_outcome = 'sending', last_action = 'place',"
        " sending_epoch = $1",
        send["epoch"],
    )
    await desk.root.execute("UPDATE app.orders SET status = 'submitting'")
    results = [
        {
            "event_id": row["event_id"],
            "epoch": send["epoch"],
            "attempts": row["attempts"],
            "outcome": "accepted",
        }
        for row in await desk.outbox()
    ]
    assert await _finish(desk, results) == len(orders)
    assert [await desk.status(order_id) for order_id in orders] == ["submitted", "submitted"]
    assert await desk.outbox() == []
    await desk.assert_whole()


async def test_a_chain_takes_one_link_of_a_set(desk: World) -> None:
    query = "SELECT app.sp_audit_append_each($1, 'test', $2, $3::jsonb[])"
    streams = [desk.account, desk.other]
    assert await desk.root.fetchval(query, streams, ["a", "b"], ["{}", '{"n": 1}']) == 2
    with pytest.raises(asyncpg.UniqueViolationError):
        await desk.root.fetchval(query, [desk.account, desk.account], ["a", "b"], ["{}", "{}"])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await desk.worker.fetchval(query, streams, ["a", "b"], ["{}", "{}"])
    await desk.assert_whole()


async def test_the_limit_is_kept_and_the_oldest_go_first(desk: World) -> None:
    await desk.acquire()
    await desk.place(account_id=desk.other)
    await desk.place(account_id=desk.account)
    assert [send["account_id"] for send in await desk.begin(limit=1)] == [desk.other]
    assert [send["account_id"] for send in await desk.begin(limit=1)] == [desk.account]


async def test_a_long_queue_that_may_not_send_hides_no_younger_lane(desk: World) -> None:
    await desk.acquire()
    # More rows of one lane than are looked at first, and its first one is on its way.
    for _ in range(6):
        await desk.place(account_id=desk.other)
    await desk.place(account_id=desk.account)
    assert [send["account_id"] for send in await desk.begin(limit=1)] == [desk.other]
    assert [send["account_id"] for send in await desk.begin(limit=1)] == [desk.account]
    assert await desk.begin(limit=1) == []
