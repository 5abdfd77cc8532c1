"""What operators do: rows that were given up come back, lost orders are resolved, all audited."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import make_user
from sp_world import World, desk, new_id, refused

__all__ = ["desk"]

REQUEUE = "SELECT app.sp_admin_requeue($1, 'session', 'request', $2)"
RESOLVE = "SELECT app.sp_admin_resolve_order($1, 'session', 'request', $2, $3, $4)"
LIST = "SELECT one::text FROM app.sp_admin_list($1, 'session', $2, 0) AS one"


@pytest.fixture
async def admin(desk: World) -> Any:
    """A user with the role admin."""
    return await make_user(desk.migrate, role="admin")


async def _audited(desk: World, action: str) -> list[dict[str, Any]]:
    rows = await desk.root.fetch(
        "SELECT stream_id, actor, detail::text FROM audit.audit_log WHERE action = $1 ORDER BY seq",
        action,
    )
    return [{**dict(row), "detail": json.loads(row["detail"])} for row in rows]


async def _listed(desk: World, admin: Any, kind: str) -> list[dict[str, Any]]:
    return [json.loads(row["one"]) for row in await desk.api.fetch(LIST, admin, kind)]


async def _bury(desk: World) -> asyncpg.Record:
    """Place an order at which the adapter itself fails three times."""
    order = await desk.place()
    for _ in range(3):
        (send,) = await desk.begin()
        assert await desk.finish(send, "unknown", reason="adapter_failed") == 1
        await desk.unpark()
    return order


async def test_a_row_at_which_our_code_fails_three_times_is_given_up_and_the_lane_goes_on(
    desk: World, admin: Any
) -> None:
    await desk.acquire()
    poison = await _bury(desk)
    assert await desk.status(poison["order_id"]) == "lost"
    assert await desk.outbox() == []
    (row,) = await _listed(desk, admin, "outbox")
    assert (row["state"], row["last_error"], row["attempts"]) == ("dead", "adapter_failed", 3)
    (lost,) = await _listed(desk, admin, "lost_orders")
    assert (lost["order_id"], lost["reason_code"]) == (poison["order_id"], "GIVEN_UP")
    age = await desk.worker.fetchrow("SELECT * FROM app.sp_outbox_age()")
    assert (age["pending"], age["dead"], age["lost"]) == (0, 1, 1)
    following = await desk.submit()
    assert await desk.status(following["order_id"]) == "submitted"
    await desk.assert_whole()


async def test_an_unknown_answer_of_the_venue_is_never_given_up(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    for _ in range(5):
        (send,) = await desk.begin()
        await desk.finish(send, "unknown", reason="send_timeout")
        await desk.unpark()
    assert await desk.status(order["order_id"]) == "submit_unknown"
    assert len(await desk.outbox()) == 1


async def test_a_dead_row_comes_back_once_as_a_question_and_is_audited(
    desk: World, admin: Any
) -> None:
    await desk.acquire()
    order = await _bury(desk)
    (row,) = await _listed(desk, admin, "outbox")
    event_id = row["event_id"]
    assert await desk.api.fetchval(REQUEUE, admin, event_id) == "dead"
    assert await desk.api.fetchval(REQUEUE, admin, event_id) == "pending"
    assert await desk.status(order["order_id"]) == "submit_unknown"
    (send,) = await desk.begin()
    assert (send["event_id"], send["action"]) == (event_id, "query"), "never sent blindly"
    told = await _audited(desk, "outbox.requeue")
    assert [one["detail"]["was"] for one in told] == ["dead", "pending"]
    assert {one["stream_id"] for one in told} == {desk.account}
    assert {one["actor"] for one in told} == {f"user:{admin}"}
    await desk.assert_whole()


async def test_a_lane_that_waits_goes_on_when_its_row_is_requeued(desk: World, admin: Any) -> None:
    await desk.acquire()
    await desk.place()
    send = await desk.send("auth")
    assert await desk.begin() == []
    assert (await _listed(desk, admin, "outbox"))[0]["state"] == "parked"
    assert await desk.api.fetchval(REQUEUE, admin, send["event_id"]) == "pending"
    assert len(await desk.begin()) == 1
    assert (await _listed(desk, admin, "outbox"))[0]["state"] == "sending"


async def test_only_an_administrator_may_and_only_what_exists(desk: World, admin: Any) -> None:
    await desk.acquire()
    order = await _bury(desk)
    for user in (desk.trader, desk.stranger):
        with refused("IN403", "role_not_allowed"):
            await desk.api.fetchval(REQUEUE, user, 1)
        with refused("IN403", "role_not_allowed"):
            await desk.api.fetchval(RESOLVE, user, order["order_id"], "canceled", "looked")
    with refused("IN404", "event_not_found"):
        await desk.api.fetchval(REQUEUE, admin, 999)
    with refused("IN404", "order_not_found"):
        await desk.api.fetchval(RESOLVE, admin, 999, "canceled", "looked")
    for status in ("filled", "accepted", "lost", "", None):
        with refused("IN422", "status_invalid"):
            await desk.api.fetchval(RESOLVE, admin, order["order_id"], status, "looked")
    for reason in ("", "a\nb", "x" * 201, None):
        with refused("IN422", "reason_invalid"):
            await desk.api.fetchval(RESOLVE, admin, order["order_id"], "canceled", reason)
    assert await desk.status(order["order_id"]) == "lost"
    assert await _audited(desk, "order.resolve") == []


async def test_a_lost_order_is_resolved_once_and_nothing_more_is_owed_for_it(
    desk: World, admin: Any
) -> None:
    await desk.acquire()
    order = await _bury(desk)
    for _ in range(2):
        state = await desk.api.fetchval(
            RESOLVE, admin, order["order_id"], "canceled", "the broker's clerk says: never had it"
        )
        assert state == "canceled"
    assert await _listed(desk, admin, "outbox") == []
    assert await _listed(desk, admin, "lost_orders") == []
    assert await desk.begin() == []
    (told,) = await _audited(desk, "order.resolve")
    assert told["detail"]["status_before"] == "lost"
    assert told["detail"]["reason"] == "the broker's clerk says: never had it"
    with refused("IN409", "order_not_lost"):
        await desk.api.fetchval(RESOLVE, admin, order["order_id"], "rejected", "another thought")
    await desk.assert_whole()


async def test_a_fill_of_an_order_that_was_resolved_is_booked_all_the_same(
    desk: World, admin: Any
) -> None:
    await desk.acquire()
    order = await _bury(desk)
    await desk.api.fetchval(RESOLVE, admin, order["order_id"], "rejected", "not at the broker")
    assert await desk.fill(order, "10", status="filled", exec_id=new_id()) == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["late_fill"], row["cum_quantity"]) == ("filled", True, 10)
    await desk.assert_whole()


async def test_an_operator_may_have_the_broker_asked_again(desk: World, admin: Any) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "accepted")
    absent = {"known": False, "occurred_at": "2100-01-01T00:00:00Z"}
    await desk.report(order, "order_state", **absent)
    assert await desk.status(order["order_id"]) == "lost"
    await desk.api.fetchval(RESOLVE, admin, order["order_id"], "submit_unknown", "ask again")
    (send,) = await desk.begin()
    assert (send["action"], send["order_id"]) == ("query", order["order_id"])


async def test_a_working_order_is_not_resolved_by_hand(desk: World, admin: Any) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "accepted")
    with refused("IN409", "order_not_lost"):
        await desk.api.fetchval(RESOLVE, admin, order["order_id"], "canceled", "I think so")


async def test_a_lane_whose_last_row_is_settled_otherwise_waits_no_more(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    await desk.send("unknown")
    assert await desk.root.fetchval("SELECT count(*) FROM app.outbox_parked") == 1
    await desk.fill(order, "10", status="filled", exec_id=new_id())
    await desk.unpark()
    assert await desk.begin() == [], "nothing to send"
    assert await desk.outbox() == []
    assert await desk.root.fetchval("SELECT count(*) FROM app.outbox_parked") == 0
