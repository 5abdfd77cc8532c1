"""One call cancels every open order of an account, once per key."""

from decimal import Decimal

import pytest
from fixtures_postgres import make_user
from sp_world import World, desk, new_id, refused

__all__ = ["desk"]

CALL = "SELECT app.sp_cancel_all($1, $2, $3, $4, $5)"


async def test_everything_open_is_canceled_here_or_asked_to_be(desk: World) -> None:
    await desk.acquire()
    working = await desk.submit()
    await desk.venue(working, "accepted")
    leaving = await desk.submit()
    await desk.cancel(leaving["order_id"])
    waiting = [await desk.place() for _ in range(3)]
    denied = await desk.place(quantity=Decimal(1001))
    elsewhere = await desk.place(account_id=desk.other)
    assert await desk.cancel_all() == 4
    assert [await desk.status(order["order_id"]) for order in waiting] == ["canceled"] * 3
    assert await desk.status(working["order_id"]) == "pending_cancel"
    assert await desk.status(leaving["order_id"]) == "pending_cancel"
    assert await desk.status(denied["order_id"]) == "denied"
    assert await desk.status(elsewhere["order_id"]) == "new"
    mine = [row["kind"] for row in await desk.outbox() if row["stream_id"] == desk.account]
    assert mine == ["order.cancel.v1"] * 2
    assert await desk.cancel_all() == 0
    await desk.assert_whole()


async def test_a_replace_on_its_way_does_not_save_an_order(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "accepted")
    await desk.replace(order["order_id"], quantity=Decimal(20))
    assert await desk.cancel_all() == 1
    assert [row["kind"] for row in await desk.outbox()] == ["order.cancel.v1"]
    assert (await desk.order(order["order_id"]))["status"] == "pending_cancel"


async def test_a_key_counts_once_and_for_one_account(desk: World) -> None:
    key = new_id()
    await desk.place()
    assert await desk.cancel_all(key) == 1
    order = await desk.place()
    assert await desk.cancel_all(key) == 1
    assert await desk.status(order["order_id"]) == "new"
    with refused("IN422", "idempotency_key_reused"):
        await desk.cancel_all(key, desk.other)
    query = "SELECT count(*) FROM audit.audit_log WHERE action = 'order.cancel_all'"
    assert await desk.root.fetchval(query) == 1


async def test_who_may_not_trade_is_refused_and_an_admin_may(desk: World) -> None:
    order = await desk.place()
    viewer, admin = await make_user(desk.migrate, "viewer"), await make_user(desk.migrate, "admin")
    member = "SELECT app.sp_member_set('system:test', $1, $2, $3)"
    for user_id, account, sqlstate, code in (
        (None, desk.account, "IN401", "user_unknown"),
        (viewer, desk.account, "IN403", "role_not_allowed"),
        (desk.stranger, desk.account, "IN404", "account_not_found"),
        (desk.trader, 999_999, "IN404", "account_not_found"),
        (admin, 999_999, "IN404", "account_not_found"),
        (desk.trader, None, "IN422", "account_id_invalid"),
        (admin, None, "IN422", "account_id_invalid"),
    ):
        with refused(sqlstate, code):
            await desk.api.fetchval(CALL, user_id, "s", "r", new_id(), account)
    await desk.migrate.execute(member, desk.account, desk.stranger, False)
    with refused("IN403", "not_allowed_to_trade"):
        await desk.api.fetchval(CALL, desk.stranger, "s", "r", new_id(), desk.account)
    assert await desk.status(order["order_id"]) == "new"
    assert await desk.api.fetchval(CALL, admin, "s", "r", new_id(), desk.account) == 1


@pytest.mark.parametrize("bad", [None, "", "a b", "x" * 65, "x" * 10_000])
async def test_bad_texts_are_refused(desk: World, bad: str | None) -> None:
    with refused("IN422", "idempotency_key_invalid"):
        await desk.api.fetchval(CALL, desk.trader, "s", "r", bad, desk.account)
    with refused("IN422", "request_id_invalid"):
        await desk.api.fetchval(CALL, desk.trader, "s", bad, "k", desk.account)


async def test_no_other_isolation_cancels(desk: World) -> None:
    with refused("25001"):
        async with desk.api.transaction(isolation="repeatable_read"):
            await desk.cancel_all()
