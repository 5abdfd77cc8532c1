"""Racing calls make one order each, keep the chains whole and never deadlock."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import asyncpg
import pytest
from sp_world import World, desk, new_id, place, place_many

__all__ = ["desk"]


async def _pool(desk: World, size: int) -> asyncpg.Pool:
    # The usual reset calls pg_advisory_unlock_all, to which the role has no right.
    return await asyncpg.create_pool(
        desk.database.dsn("app_write"), min_size=size, max_size=size, reset=_leave_as_it_is
    )


async def _leave_as_it_is(_: object) -> None:
    return


async def test_100_parallel_calls_of_one_key_make_one_order(desk: World) -> None:
    async with await _pool(desk, 20) as pool:
        request = desk.request()
        answers = await asyncio.gather(*(place(pool, request) for _ in range(100)))
    assert Counter(answer["replayed"] for answer in answers) == {False: 1, True: 99}
    assert len({answer["order_id"] for answer in answers}) == 1
    assert len(await desk.outbox()) == 1


async def test_1000_shuffled_calls_over_50_keys_make_50_orders(desk: World) -> None:
    requests = [desk.request() for _ in range(50)]
    other_body = [replace(request, quantity=Decimal(9)) for request in requests]
    calls = requests * 15 + other_body * 5
    random.Random(7).shuffle(calls)
    async with await _pool(desk, 20) as pool:
        answers = await asyncio.gather(
            *(place(pool, call) for call in calls), return_exceptions=True
        )
    orders = [answer for answer in answers if isinstance(answer, asyncpg.Record)]
    reused = [answer for answer in answers if isinstance(answer, asyncpg.PostgresError)]
    assert {error.detail for error in reused} == {"idempotency_key_reused"}
    assert len(orders) + len(reused) == 1000
    ids = {order["client_order_id"]: order["order_id"] for order in orders}
    assert len(ids) == 50
    assert all(ids[order["client_order_id"]] == order["order_id"] for order in orders)
    assert sum(not order["replayed"] for order in orders) == 50
    await desk.assert_whole()


async def test_racing_orders_of_two_accounts_keep_chains_and_order_and_never_deadlock(
    desk: World,
) -> None:
    requests = [
        desk.request(account_id=account)
        for pair in range(50)
        for account in ((desk.account, desk.other), (desk.other, desk.account))[pair % 2]
    ]
    async with await _pool(desk, 20) as pool:
        answers = await asyncio.gather(*(place(pool, request) for request in requests))
    assert Counter(answer["account_id"] for answer in answers) == {
        desk.account: 50,
        desk.other: 50,
    }
    inversions = await desk.root.fetchval(
        """
        SELECT count(*) FROM (
            SELECT e.event_id, a.seq,
                lag(a.seq) OVER (PARTITION BY e.stream_id ORDER BY e.event_id) AS before
            FROM app.events_outbox AS e
            JOIN audit.audit_log AS a
                ON a.stream_id = e.stream_id AND a.action = 'order.place'
                AND (a.detail ->> 'order_id')::bigint = e.order_id
        ) AS x WHERE x.before > x.seq
        """
    )
    assert inversions == 0
    await desk.assert_whole()


async def test_one_id_racing_on_two_accounts_makes_one_order(desk: World) -> None:
    ids = [new_id() for _ in range(20)]
    calls = [
        desk.request(client_order_id=id_, account_id=account)
        for id_ in ids
        for account in (desk.account, desk.other)
    ]
    async with await _pool(desk, 20) as pool:
        answers = await asyncio.gather(
            *(place(pool, call) for call in calls), return_exceptions=True
        )
    refusals = [answer.detail for answer in answers if isinstance(answer, asyncpg.PostgresError)]
    assert refusals == ["idempotency_key_reused"] * 20
    assert await desk.root.fetchval("SELECT count(*) FROM app.orders") == 20


async def test_a_batch_that_meets_another_unique_row_than_an_orders_is_not_tried_again(
    desk: World,
) -> None:
    # Somebody wrote past the head of the chain.
    await desk.root.execute(
        "INSERT INTO audit.audit_log SELECT stream_id, seq + 1, 0, 'x', 'x', 'x', '{}', head, head"
        " FROM app.streams WHERE stream_id = $1",
        desk.account,
    )
    async with asyncio.timeout(10):
        with pytest.raises(asyncpg.UniqueViolationError, match="audit_log_pkey"):
            await place_many(desk.api, [desk.request(), desk.request()])
    assert await desk.root.fetchval("SELECT count(*) FROM app.orders") == 0
