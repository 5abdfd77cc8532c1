"""After a restore nothing but questions leaves the outbox, until somebody has reconciled."""

from typing import Any

from sp_world import World, desk, refused, stamp

__all__ = ["desk"]

LATER_S = 60.0  # beyond the validity of any send of these tests


async def quarantine(desk: World) -> int:
    query = "SELECT app.sp_outbox_quarantine('operator:test', 'restored')"
    return int(await desk.migrate.fetchval(query))


async def release(desk: World, *, unanswered_too: bool = False) -> int:
    query = "SELECT app.sp_outbox_release('operator:test', 'compared', $1)"
    return int(await desk.migrate.fetchval(query, unanswered_too))


async def answered(desk: World, order: Any, **fields: Any) -> str:
    return await desk.report(order, "order_state", **{"occurred_at": stamp(LATER_S), **fields})


async def test_a_restored_order_is_asked_about_and_not_sent_before_the_release(
    desk: World,
) -> None:
    await desk.acquire()
    order = await desk.place()
    assert await quarantine(desk) == 1

    (send,) = await desk.begin()
    assert send["action"] == "query", "it may have been sent after the backup"
    await desk.finish(send, "accepted")
    await desk.unpark()
    with refused("IN409", "outbox_unanswered"):
        await release(desk)

    assert await answered(desk, order, known=False) == "applied"
    await desk.unpark()
    assert await desk.begin() == [], "proved absent, and held"

    assert await release(desk) == 1
    (send,) = await desk.begin()
    assert (send["action"], send["order_id"]) == ("place", order["order_id"])
    await desk.assert_whole()


async def test_what_was_sent_after_the_backup_is_found_and_not_sent_again(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    await quarantine(desk)
    (send,) = await desk.begin()
    await desk.finish(send, "accepted")
    state = {"known": True, "status": "accepted", "executions": []}
    assert await answered(desk, order, **state) == "applied"
    assert await desk.status(order["order_id"]) == "accepted"
    assert await desk.outbox() == []
    assert await release(desk) == 0
    assert await desk.begin() == []


async def test_every_open_order_is_asked_after(desk: World) -> None:
    await desk.acquire()
    working = await desk.submit()
    await desk.report(working, "status", status="accepted")
    assert await desk.outbox() == []
    assert await quarantine(desk) == 1
    assert await quarantine(desk) == 1, "again: nothing is owed twice"
    (send,) = await desk.begin()
    assert (send["action"], send["order_id"]) == ("query", working["order_id"])


async def test_cancels_are_held_and_don_t_hold_up_questions(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.report(order, "status", status="accepted")
    await desk.cancel(order["order_id"])
    assert await quarantine(desk) == 1
    assert [send["action"] for send in await desk.begin()] == ["query"]
    assert [row["kind"] for row in await desk.outbox()] == ["order.cancel.v1", "order.query.v1"]
    assert await release(desk, unanswered_too=True) == 1
    await desk.interrupt()
    assert "cancel" in [send["action"] for send in await desk.begin()]


async def test_a_quarantine_is_audited_and_ends_once(desk: World) -> None:
    with refused("IN409", "outbox_not_quarantined"):
        await release(desk)
    with refused("IN422", "reason_invalid"):
        await desk.migrate.fetchval("SELECT app.sp_outbox_quarantine('operator:test', '')")
    await quarantine(desk)
    await release(desk)
    with refused("IN409", "outbox_not_quarantined"):
        await release(desk)
    query = """SELECT action, actor FROM audit.audit_log
        WHERE stream_id = 0 AND action LIKE 'outbox.%' ORDER BY seq"""
    assert [tuple(row) for row in await desk.root.fetch(query)] == [
        ("outbox.quarantined", "operator:test"),
        ("outbox.released", "operator:test"),
    ]
