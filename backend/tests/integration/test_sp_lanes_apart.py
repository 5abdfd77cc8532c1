"""The worker writes to many accounts at once, and never lets one wait for another's lock."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sp_world import World, begun, desk, refused
from worker_world import eventually

__all__ = ["desk"]

FREE = "SELECT FROM app.streams WHERE stream_id = $1 FOR UPDATE NOWAIT"
WAITS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"


@asynccontextmanager
async def written_to(desk: World, account: int) -> AsyncIterator[None]:
    """Somebody writes to an account and does not commit."""
    somebody = await desk.database.connect("postgres")
    async with somebody.transaction():
        await somebody.execute(FREE, account)
        yield


async def is_free(desk: World, account: int) -> bool:
    """Say whether nobody holds the account's lock."""
    try:
        await desk.root.execute(FREE, account)
    except asyncpg.LockNotAvailableError:
        return False
    return True


async def waits(desk: World, connection: asyncpg.Connection) -> bool:
    """Say whether a connection waits for a lock."""
    return await desk.root.fetchval(WAITS, connection.get_server_pid()) is True


async def place_two(desk: World) -> tuple[asyncpg.Record, asyncpg.Record]:
    """An order of each account, the trader's first one before the other."""
    await desk.acquire()
    return await desk.place(account_id=desk.account), await desk.place(account_id=desk.other)


async def test_who_has_waited_less_is_passed_over_while_somebody_writes_to_it(desk: World) -> None:
    early, late = await place_two(desk)
    async with written_to(desk, desk.other):
        assert [send["order_id"] for send in await desk.begin()] == [early["order_id"]]
        assert await desk.status(late["order_id"]) == "new"
    assert [send["order_id"] for send in await desk.begin()] == [late["order_id"]]


async def test_who_has_waited_longest_is_waited_for_with_no_other_account_held(
    desk: World,
) -> None:
    await place_two(desk)
    held = "SELECT app.sp_lock_streams($1, '1min')"
    owner = await desk.database.connect("postgres")
    async with written_to(desk, desk.account):
        waiting = asyncio.create_task(owner.fetchval(held, [desk.account, desk.other]))
        await eventually(lambda: waits(desk, owner))
        assert await is_free(desk, desk.other)
        assert not waiting.done()
    assert sorted(await waiting) == sorted([desk.account, desk.other])


async def test_nobody_waits_long_for_who_does_not_end(desk: World) -> None:
    early, late = await place_two(desk)
    async with written_to(desk, desk.account):
        assert [send["order_id"] for send in await desk.begin()] == [late["order_id"]]
        assert await desk.begin() == []
    assert [send["order_id"] for send in await desk.begin()] == [early["order_id"]]
    assert await desk.worker.fetchval("SHOW lock_timeout") == "5s"


async def test_results_of_an_account_that_is_written_to_are_left_for_the_next_time(
    desk: World,
) -> None:
    early, late = await place_two(desk)
    results = [{**begun(send), "outcome": "accepted"} for send in await desk.begin()]

    async def finish() -> int:
        query = "SELECT app.sp_finish_sends($1, $2::jsonb)"
        return int(await desk.worker.fetchval(query, desk.owner, json.dumps(results)))

    async with written_to(desk, desk.other):
        assert await finish() == 1
        assert await desk.status(early["order_id"]) == "submitted"
        assert await desk.status(late["order_id"]) == "submitting"
        # The one that is left comes first now, and is waited for.
        finishing = asyncio.create_task(finish())
        await eventually(lambda: waits(desk, desk.worker))
        assert await is_free(desk, desk.account)
    assert await finishing == 1
    assert await desk.status(late["order_id"]) == "submitted"
    assert await finish() == 0
    await desk.assert_whole()


@pytest.mark.parametrize("held", [0, 1])
async def test_reports_of_an_account_that_is_written_to_are_left_for_the_next_time(
    desk: World, held: int
) -> None:
    orders = await place_two(desk)
    for send in await desk.begin():
        assert await desk.finish(send, "accepted") == 1
    for order in orders:
        event = desk.event(order, "order_event", status="accepted", broker_order_id="B-1")
        await desk.put([event], account=order["account_id"])
    ids = await desk.root.fetchval("SELECT array_agg(inbox_id ORDER BY inbox_id) FROM app.inbox")

    async def apply() -> dict[str, Any]:
        query = "SELECT * FROM app.sp_apply_broker_events($1)"
        return dict(await desk.worker.fetch(query, ids))

    async with written_to(desk, orders[held]["account_id"]):
        assert await apply() == {ids[1 - held]: "applied"}
        assert await desk.status(orders[held]["order_id"]) == "submitted"
    # An event that was applied answers the same again.
    assert await apply() == dict.fromkeys(ids, "applied")
    assert [await desk.status(order["order_id"]) for order in orders] == ["accepted"] * 2


async def test_no_list_of_reports_is_nothing_and_an_unknown_one_is_refused(desk: World) -> None:
    query = "SELECT * FROM app.sp_apply_broker_events($1)"
    for nothing in (None, []):
        assert await desk.worker.fetch(query, nothing) == []
    for unknown in ([0], [None], [-1]):
        with refused("IN404", "event_not_found"):
            await desk.worker.fetch(query, unknown)


async def test_the_longest_silent_of_those_that_are_free_is_asked_about(desk: World) -> None:
    orders = await place_two(desk)
    for send in await desk.begin():
        assert await desk.finish(send, "accepted") == 1
    query = "SELECT app.sp_query_inflight($1, interval '0')"
    async with written_to(desk, desk.other):
        assert await desk.worker.fetchval(query, desk.owner) == 1
        assert [row["order_id"] for row in await desk.outbox()] == [orders[0]["order_id"]]
    assert await desk.worker.fetchval(query, desk.owner) == 1
