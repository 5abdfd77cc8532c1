"""A cancel is local while the order is here, a request once it may have left, and idempotent."""

import asyncio
from typing import Any

import pytest
from fixtures_postgres import make_user
from sp_world import World, desk, new_id, refused

__all__ = ["desk"]


async def _done(desk: World) -> list[tuple[str, str]]:
    rows = await desk.root.fetch("SELECT kind, outcome FROM app.events_done ORDER BY event_id")
    return [tuple(row) for row in rows]


async def test_an_order_that_was_not_begun_is_canceled_at_once(desk: World) -> None:
    order = await desk.place()
    answer = await desk.cancel(order["order_id"])
    assert (answer["status"], answer["replayed"]) == ("canceled", False)
    assert await desk.outbox() == []
    assert await _done(desk) == [("order.place.v1", "canceled")]
    await desk.assert_whole()


async def test_an_order_that_certainly_did_not_leave_is_canceled_at_once(desk: World) -> None:
    await desk.acquire()
    for outcome in ("not_sent", "throttled", "auth"):
        order = await desk.place()
        await desk.send(outcome)
        assert await desk.status(order["order_id"]) == "submitting"
        assert (await desk.cancel(order["order_id"]))["status"] == "canceled"
        assert await desk.outbox() == []
        assert await desk.root.fetchval("SELECT count(*) FROM app.outbox_parked") == 0


@pytest.mark.parametrize("outcome", [None, "unknown", "accepted"])
async def test_an_order_that_may_have_left_is_asked_to_be_canceled(
    desk: World, outcome: str | None
) -> None:
    await desk.acquire()
    order = await desk.place()
    (send,) = await desk.begin()
    if outcome:
        await desk.finish(send, outcome)
    assert (await desk.cancel(order["order_id"]))["status"] == "pending_cancel"
    owed = [row["kind"] for row in await desk.outbox()]
    assert owed[-1] == "order.cancel.v1"
    if outcome is None:
        await desk.finish(send, "accepted")
    await desk.unpark()
    (cancel,) = await desk.begin()
    assert (cancel["action"], cancel["order_id"]) == ("cancel", order["order_id"])
    await desk.finish(cancel, "accepted")
    assert await desk.outbox() == []
    assert await desk.status(order["order_id"]) == "pending_cancel"
    assert await desk.venue(order, "canceled") == "applied"
    assert await desk.status(order["order_id"]) == "canceled"
    await desk.assert_whole()


async def test_a_send_that_did_not_leave_after_all_cancels_what_was_asked_to_be(
    desk: World,
) -> None:
    await desk.acquire()
    order = await desk.place()
    (send,) = await desk.begin()
    await desk.cancel(order["order_id"])
    await desk.finish(send, "not_sent")
    assert await desk.status(order["order_id"]) == "canceled"
    assert await desk.begin() == []
    assert await desk.outbox() == []


async def test_a_send_that_was_refused_ends_what_was_asked_to_be_canceled(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    (send,) = await desk.begin()
    await desk.cancel(order["order_id"])
    await desk.finish(send, "definite_reject", reason="NO_FUNDS")
    assert await desk.status(order["order_id"]) == "rejected"
    assert await desk.begin() == []


async def test_the_same_again_answers_the_same_and_owes_nothing_more(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    key = new_id()
    first = await desk.cancel(order["order_id"], key)
    for again in (key, new_id()):
        answer = await desk.cancel(order["order_id"], again)
        assert (answer["status"], answer["replayed"]) == ("pending_cancel", True)
    assert (first["status"], first["replayed"]) == ("pending_cancel", False)
    assert len(await desk.outbox()) == 1
    await desk.venue(order, "canceled")
    assert (await desk.cancel(order["order_id"], key))["status"] == "canceled"
    assert (await desk.cancel(order["order_id"]))["status"] == "canceled"


async def test_a_key_answers_with_its_order_even_when_that_filled_meanwhile(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    key = new_id()
    await desk.cancel(order["order_id"], key)
    await desk.fill(order, "10", status="filled")
    assert (await desk.cancel(order["order_id"], key))["status"] == "filled"
    with refused("IN409", "order_not_cancelable"):
        await desk.cancel(order["order_id"])


async def test_a_key_of_another_cancel_is_refused(desk: World) -> None:
    first, second = await desk.place(), await desk.place()
    key = new_id()
    await desk.cancel(first["order_id"], key)
    with refused("IN422", "idempotency_key_reused"):
        await desk.cancel(second["order_id"], key)
    assert await desk.status(second["order_id"]) == "new"


@pytest.mark.parametrize("status", ["denied", "filled", "rejected", "expired"])
async def test_what_is_over_cannot_be_canceled(desk: World, status: str) -> None:
    order = await desk.place()
    await desk.root.execute(
        "UPDATE app.orders SET status = $1, reason_code = 'X', cum_quantity = $2",
        *(status, 10 if status == "filled" else 0),
    )
    with refused("IN409", "order_not_cancelable"):
        await desk.cancel(order["order_id"])


async def test_who_may_not_cancel_is_refused(desk: World) -> None:
    order = await desk.place()
    viewer, admin = await make_user(desk.migrate, "viewer"), await make_user(desk.migrate, "admin")
    member = "SELECT app.sp_member_set('system:test', $1, $2, $3)"
    with refused("IN404", "order_not_found"):
        await desk.cancel(order["order_id"], user_id=desk.stranger)
    with refused("IN404", "order_not_found"):
        await desk.cancel(999_999)
    with refused("IN404", "order_not_found"):
        await desk.cancel(999_999, user_id=admin)
    await desk.migrate.execute(member, desk.account, viewer, True)
    with refused("IN403", "role_not_allowed"):
        await desk.cancel(order["order_id"], user_id=viewer)
    await desk.migrate.execute(member, desk.account, desk.stranger, False)
    with refused("IN403", "not_allowed_to_trade"):
        await desk.cancel(order["order_id"], user_id=desk.stranger)
    for order_id, key, code in (
        (None, "k", "order_id_invalid"),
        (order["order_id"], "", "idempotency_key_invalid"),
        (order["order_id"], "a b", "idempotency_key_invalid"),
    ):
        with refused("IN422", code):
            await desk.api.fetchrow(
                "SELECT app.sp_cancel_order($1, 's', 'r', $2, $3)", desk.trader, key, order_id
            )
    assert await desk.status(order["order_id"]) == "new"
    assert (await desk.cancel(order["order_id"], user_id=admin))["status"] == "canceled"


async def test_a_cancel_that_races_with_the_send_is_either_local_or_asked_for(
    desk: World,
) -> None:
    await desk.acquire()
    orders = [await desk.place(account_id=account) for account in (desk.account, desk.other)]
    sends, *cancels = await asyncio.gather(
        desk.begin(), *(_cancel_apart(desk, order["order_id"]) for order in orders)
    )
    begun = {send["order_id"] for send in sends}
    for order, answer in zip(orders, cancels, strict=True):
        expected = "pending_cancel" if order["order_id"] in begun else "canceled"
        assert answer["status"] == expected
    await desk.assert_whole()


async def _cancel_apart(desk: World, order_id: int) -> Any:
    connection = await desk.database.connect("app_write")
    query = "SELECT * FROM app.sp_cancel_order($1, 's', 'r', $2, $3)"
    return await connection.fetchrow(query, desk.trader, new_id(), order_id)


async def test_an_order_is_shown_to_members_and_admins_alone(desk: World) -> None:
    order = await desk.place(client_order_id="c-1")
    query = "SELECT * FROM app.sp_order_status($1, 's', $2)"
    admin = await make_user(desk.migrate, "admin")
    for user_id in (desk.trader, admin):
        shown = await desk.api.fetchrow(query, user_id, "c-1")
        assert (shown["order_id"], shown["status"]) == (order["order_id"], "new")
    for user_id, name in ((desk.stranger, "c-1"), (desk.trader, "c-2"), (admin, "c-2")):
        with refused("IN404", "order_not_found"):
            await desk.api.fetchrow(query, user_id, name)
    with refused("IN422", "client_order_id_invalid"):
        await desk.api.fetchrow(query, desk.trader, None)
    with refused("IN401", "user_unknown"):
        await desk.api.fetchrow(query, None, "c-1")
