"""Orders of a busy account share transactions; nobody notices but by the speed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from api_world import MakePerson, OpenApi, Person, World, code, make_person, new_id, order, until

from app.services import sp_orders


@asynccontextmanager
async def busy(world: World, account_id: int) -> AsyncIterator[asyncpg.Connection]:
    """Keep the account's stream locked, so that its first order is in flight until the end."""
    blocker = await world.database.connect("postgres")
    await blocker.execute("BEGIN")
    query = "SELECT FROM app.streams WHERE stream_id = $1 FOR UPDATE"
    await blocker.execute(query.replace("$1", str(account_id)))
    try:
        yield blocker
    finally:
        await blocker.execute("ROLLBACK")


async def until_waiting(world: World, account_id: int, count: int) -> None:
    """Wait until so many orders wait behind the one in flight."""
    lanes = world.app.state.placements._lanes

    async def waiting() -> bool:
        return account_id in lanes and len(lanes[account_id].queue) >= count

    await until(waiting)


async def until_locks_wait(world: World, count: int) -> None:
    """Wait until so many sessions of this database wait for a lock."""
    observer = await world.database.connect("postgres")
    query = """SELECT count(*) FROM pg_stat_activity
               WHERE wait_event_type = 'Lock' AND datname = current_database()"""

    async def waiting() -> bool:
        return bool(await observer.fetchval(query) == count)

    await until(waiting)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many orders each shared transaction held."""
    sizes: list[int] = []
    real = sp_orders.place_batch

    async def counted(connection: Any, placements: Any, on_locked: Any) -> Any:
        sizes.append(len(placements))
        return await real(connection, placements, on_locked)

    monkeypatch.setattr(sp_orders, "place_batch", counted)
    return sizes


async def test_an_idle_account_takes_each_order_by_itself(
    world: World, trader: Person, batches: list[int]
) -> None:
    account_id = await world.account(trader)
    for _ in range(3):
        assert (await trader.place(order(account_id))).status_code == 201
    assert batches == []
    assert world.app.state.placements._lanes == {}


async def test_orders_that_meet_share_a_transaction_in_their_order_of_arrival(
    world: World, trader: Person, batches: list[int]
) -> None:
    account_id = await world.account(trader)
    keys = [f"order-{n}" for n in range(121)]
    async with busy(world, account_id):
        first = asyncio.create_task(trader.place(order(account_id, quantity="1"), keys[0]))
        await until_waiting(world, account_id, 0)
        others = [
            asyncio.create_task(trader.place(order(account_id, quantity="1"), key))
            for key in keys[1:]
        ]
        await until_waiting(world, account_id, len(others))
        queue = world.app.state.placements._lanes[account_id].queue
        arrived = [keys[0], *(it.placement.order.client_order_id for it in queue)]
    answers = await asyncio.gather(first, *others)
    assert {answer.status_code for answer in answers} == {201}
    assert [answer.json()["client_order_id"] for answer in answers] == keys
    assert batches == [50, 50, 20]
    rows = await world.rows("SELECT client_order_id FROM app.orders ORDER BY order_id")
    assert [row["client_order_id"] for row in rows] == arrived
    assert world.app.state.placements._lanes == {}


@asynccontextmanager
async def held(world: World) -> AsyncIterator[None]:
    """Keep the transaction that writes the order "held" from going on."""
    admin = await world.database.connect("postgres")
    await admin.execute(
        """CREATE FUNCTION app.test_hold() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN new; END $$;
           CREATE TRIGGER test_hold BEFORE INSERT ON app.orders FOR EACH ROW
           WHEN (new.client_order_id = 'held') EXECUTE FUNCTION app.test_hold();
           SELECT pg_advisory_lock(4711)"""
    )
    try:
        yield
    finally:
        await admin.execute("SELECT pg_advisory_unlock(4711)")


async def until_in_flight(world: World, account_id: int, count: int) -> None:
    """Wait until so many batches of an account are at the database."""
    lanes = world.app.state.placements._lanes

    async def in_flight() -> bool:
        return account_id in lanes and len(lanes[account_id].flights) == count

    await until(in_flight)


async def test_the_next_batch_is_sent_while_the_one_before_it_writes(
    world: World, trader: Person, batches: list[int]
) -> None:
    account_id = await world.account(trader)
    others = [new_id() for _ in range(58)]
    tasks: list[asyncio.Task[Any]] = []
    async with held(world):
        async with busy(world, account_id):
            # The one that is held is of the first batch.
            for keys in (["first"], ["held", *others[:30]], others[30:]):
                placing = (trader.place(order(account_id, quantity="1"), key) for key in keys)
                tasks += [asyncio.create_task(it) for it in placing]
                await until_waiting(world, account_id, len(tasks) - 1)
            queue = world.app.state.placements._lanes[account_id].queue
            arrived = [it.placement.order.client_order_id for it in queue]
        await until_in_flight(world, account_id, 2)
        lane = world.app.state.placements._lanes[account_id]
        late = asyncio.create_task(trader.place(order(account_id), "late"))
        await until_waiting(world, account_id, 1)
        assert len(lane.flights) == 2, "no more than two are sent"
        assert not any(task.done() for task in tasks[1:])
    answers = await asyncio.gather(*tasks, late)
    assert {answer.status_code for answer in answers} == {201}
    assert batches == [50, 9]
    placed = await world.rows("SELECT client_order_id FROM app.orders ORDER BY order_id")
    assert [row["client_order_id"] for row in placed] == ["first", *arrived, "late"]


async def test_no_batch_is_sent_while_the_one_before_it_waits_for_the_account(
    world: World, trader: Person, batches: list[int]
) -> None:
    account_id = await world.account(trader)
    async with AsyncExitStack() as second:
        async with busy(world, account_id):
            first = asyncio.create_task(trader.place(order(account_id), "first"))
            await until_waiting(world, account_id, 0)
            others = [asyncio.create_task(trader.place(order(account_id))) for _ in range(60)]
            await until_waiting(world, account_id, 60)
            # In the row's own queue, behind the first order and before the batch.
            queued = asyncio.create_task(second.enter_async_context(busy(world, account_id)))
            await until_locks_wait(world, 2)
        assert (await first).status_code == 201
        await queued
        await until_in_flight(world, account_id, 1)
        lane = world.app.state.placements._lanes[account_id]
        assert len(lane.queue) == 10
        assert lane.unlocked is not None
    assert {answer.status_code for answer in await asyncio.gather(*others)} == {201}
    assert batches == [50, 10]


async def test_where_no_notice_arrives_batches_follow_each_other(
    world: World, trader: Person, batches: list[int]
) -> None:
    account_id = await world.account(trader)
    await world.rows(f"ALTER DATABASE {world.database.name} SET client_min_messages = warning")
    # Its next sessions have the setting: a pooler keeps those it has.
    await world.app.state.database.engine.dispose()
    query = """SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
               WHERE datname = current_database() AND usename = 'app_write'"""
    await world.rows(query)
    async with held(world):
        async with busy(world, account_id):
            first = asyncio.create_task(trader.place(order(account_id)))
            await until_waiting(world, account_id, 0)
            keys = ["held", *(new_id() for _ in range(58))]
            others = [asyncio.create_task(trader.place(order(account_id), key)) for key in keys]
            await until_waiting(world, account_id, len(others))
        assert (await first).status_code == 201
        await until_locks_wait(world, 1)
        lane = world.app.state.placements._lanes[account_id]
        assert (len(lane.flights), len(lane.queue)) == (1, 9)
    assert {answer.status_code for answer in await asyncio.gather(*others)} == {201}
    assert batches == [50, 9]


async def test_each_caller_gets_his_own_answer_or_refusal(
    world: World, make_person: MakePerson, batches: list[int]
) -> None:
    trader, stranger = await make_person("trader"), await make_person("trader")
    viewer = await make_person("viewer")
    account_id = await world.account(trader, viewer)
    known = new_id()
    await trader.place(order(account_id), known)
    calls = [
        (trader, order(account_id), new_id(), 201, None),
        (trader, order(account_id), known, 200, None),
        (trader, order(account_id, quantity="11"), known, 422, "idempotency_key_reused"),
        (trader, order(account_id, quantity="10001"), new_id(), 201, None),
        (stranger, order(account_id), new_id(), 404, "account_not_found"),
        (viewer, order(account_id), new_id(), 403, "role_not_allowed"),
        (trader, order(account_id, symbol="NOPE"), new_id(), 422, "instrument_not_found"),
        (trader, order(account_id, strategy_id="9"), new_id(), 404, "strategy_not_found"),
        (trader, order(account_id), new_id(), 201, None),
    ]
    async with busy(world, account_id):
        first = asyncio.create_task(trader.place(order(account_id)))
        await until_waiting(world, account_id, 0)
        tasks = [asyncio.create_task(who.place(body, key)) for who, body, key, _, _ in calls]
        await until_waiting(world, account_id, len(calls))
    assert (await first).status_code == 201
    for task, (_, _, key, status, refusal) in zip(tasks, calls, strict=True):
        answer = await task
        assert answer.status_code == status, answer.text
        assert refusal is None or code(answer) == refusal
        assert refusal is not None or answer.json()["client_order_id"] == key
        assert (answer.headers.get("Idempotent-Replayed") == "true") == (status == 200)
    assert batches == [len(calls)]
    statuses = await world.rows("SELECT status, count(*) FROM app.orders GROUP BY 1 ORDER BY 1")
    assert dict(statuses) == {"denied": 1, "new": 4}


async def test_a_caller_who_leaves_takes_nobody_with_him(
    world: World, trader: Person, batches: list[int]
) -> None:
    account_id = await world.account(trader)
    async with busy(world, account_id):
        first = asyncio.create_task(trader.place(order(account_id), "first"))
        await until_waiting(world, account_id, 0)
        leaving = asyncio.create_task(trader.place(order(account_id), "leaving"))
        staying = asyncio.create_task(trader.place(order(account_id), "staying"))
        await until_waiting(world, account_id, 2)
        leaving.cancel()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert (await staying).status_code == 201
    again = await trader.place(order(account_id), "staying")
    assert again.status_code == 200
    placed = {row["client_order_id"] for row in await world.rows("SELECT * FROM app.orders")}
    assert placed == {"staying"}
    # Whoever left asks again under his own id.
    assert (await trader.place(order(account_id), "leaving")).status_code == 201


async def test_an_error_that_nobody_foresaw_meets_only_its_own_caller(
    world: World, trader: Person, batches: list[int]
) -> None:
    account_id = await world.account(trader)
    admin = await world.database.connect("postgres")
    await admin.execute(
        """CREATE FUNCTION app.test_fail() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE 'no' USING ERRCODE = '42P01'; END $$;
           CREATE TRIGGER test_fail BEFORE INSERT ON app.orders FOR EACH ROW
           WHEN (new.client_order_id = 'poison') EXECUTE FUNCTION app.test_fail()"""
    )
    async with busy(world, account_id):
        tasks = [asyncio.create_task(trader.place(order(account_id)))]
        await until_waiting(world, account_id, 0)
        tasks += [
            asyncio.create_task(trader.place(order(account_id), key))
            for key in ("before", "poison", "after")
        ]
        await until_waiting(world, account_id, 3)
    answers = await asyncio.gather(*tasks)
    assert [answer.status_code for answer in answers] == [201, 201, 500, 201]
    assert batches == [3]


async def test_without_a_connection_in_time_everyone_hears_503(
    open_api: OpenApi, batches: list[int]
) -> None:
    limits = {"database_pool_size": 1, "database_acquire_timeout_s": 0.3}
    async with open_api(api_role="api", **limits) as world:
        trader = await make_person(world, "trader")
        account_id = await world.account(trader)
        pool = world.app.state.database
        async with pool.transaction(), pool.transaction():
            answers = await asyncio.gather(*(trader.place(order(account_id)) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {503}
        assert {code(answer) for answer in answers} == {"database_busy"}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        assert (await trader.place(order(account_id))).status_code == 201


async def test_a_lock_that_nobody_gives_up_is_503_and_nothing_is_written(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    async with busy(world, account_id), asyncio.timeout(20):
        answers = await asyncio.gather(*(trader.place(order(account_id)) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {503}
    assert not await world.rows("SELECT FROM app.orders")
    assert (await trader.place(order(account_id))).status_code == 201


async def test_the_settings_switch_it_off(open_api: OpenApi, batches: list[int]) -> None:
    async with open_api(api_role="api", place_batch_max=1) as world:
        trader = await make_person(world, "trader")
        account_id = await world.account(trader)
        answers = await asyncio.gather(*(trader.place(order(account_id)) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {201}
    assert batches == []


async def test_accounts_do_not_wait_for_each_other(world: World, trader: Person) -> None:
    hot, idle = await world.account(trader), await world.account(trader)
    async with busy(world, hot):
        waiting = asyncio.create_task(trader.place(order(hot)))
        await until_waiting(world, hot, 0)
        async with asyncio.timeout(2):
            assert (await trader.place(order(idle))).status_code == 201
        assert not waiting.done()
    assert (await waiting).status_code == 201


async def test_sixty_four_racing_callers_with_one_id_place_one_order(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    answers = await asyncio.gather(*(trader.place(order(account_id), "one") for _ in range(64)))
    assert sorted(answer.status_code for answer in answers) == [200] * 63 + [201]
    assert len(await world.rows("SELECT FROM app.orders")) == 1
