"""When and in which order the worker sends, against a real Postgres and a venue that remembers."""

import asyncio
import itertools

import pytest
from fixtures_postgres import Database as FreshDatabase
from worker_world import Desk, PortBroker, Venue, desk, eventually, first, running_worker, venue

from app.services.broker import Outcome, OutcomeKind
from app.services.db import Database, create_engine
from worker.bridges import Bridges
from worker.consumer import APPLIED_TOGETHER_MAX, INBOX_BATCH_MAX, Sender, SendLimits
from worker.lanes import Lanes, Lease, steady_clock
from worker.metrics import Metrics
from worker.service import direct_connection

__all__ = ["desk", "venue"]

FLOOD = 2_000


async def test_an_order_is_sent_once_and_its_row_archived(desk: Desk, venue: Venue) -> None:
    order = await desk.place(first(desk))
    async with running_worker(venue) as worker:
        await eventually(desk.outbox_is_empty)
        assert worker.metric("sends_total", action="place", outcome="accepted") == 1
    assert [command.client_order_id for command in venue.commands] == [order]
    assert await desk.status(order) == "submitted"


async def test_three_workers_keep_the_order_of_each_of_twenty_accounts(
    database: FreshDatabase,
) -> None:
    desk = Desk(database)
    await desk.open(accounts=20)
    venue = Venue(desk)
    await venue.heartbeats()
    placed: dict[str, list[str]] = {broker: [] for broker in desk.accounts.values()}

    async def place_round() -> None:
        for account_id, broker_account in desk.accounts.items():
            placed[broker_account].append(await desk.place(account_id))

    await place_round()
    async with (
        running_worker(venue, name="a", shards_max=6),
        running_worker(venue, name="b", shards_max=6),
        running_worker(venue, name="c", shards_max=6),
    ):
        for _ in range(4):
            await place_round()
            await desk.poke()
        await eventually(desk.outbox_is_empty)
    sent = {
        broker: [c.client_order_id for c in venue.sent("place") if c.broker_account == broker]
        for broker in placed
    }
    assert sent == placed
    assert {command.sender for command in venue.commands} == {"a", "b", "c"}


async def test_a_poke_wakes_the_worker_long_before_its_poll(desk: Desk, venue: Venue) -> None:
    async with running_worker(venue, poll_interval_ms=3_600_000) as worker:
        await eventually(lambda: worker.service.health()[0])
        order = await desk.place(first(desk))
        await desk.poke()
        await eventually(lambda: venue.sent("place", order))


async def test_what_is_owed_and_what_is_reported_are_poked_apart(desk: Desk, venue: Venue) -> None:
    async with running_worker(venue, poll_interval_ms=3_600_000) as worker:
        await eventually(lambda: worker.service.health()[0])
        first_order = await desk.place(first(desk))
        await desk.poke()
        await eventually(lambda: desk.is_status(first_order, "submitted"))
        await venue.report(venue.commands[0], {"kind": "order_event", "status": "accepted"})
        order = await desk.place(first(desk))
        await desk.api(lambda api: api.execute("NOTIFY outbox_poke"))
        await eventually(lambda: desk.is_status(order, "submitted"))
        assert await desk.is_status(first_order, "submitted"), "nobody looked at the inbox"
        await desk.api(lambda api: api.execute("NOTIFY inbox_poke"))
        await eventually(lambda: desk.is_status(first_order, "accepted"))


async def test_an_account_that_is_written_to_for_long_holds_up_no_other(
    desk: Desk, venue: Venue
) -> None:
    """The one that is held comes first in every queue: of what to send and of what was reported."""
    held, other = list(desk.accounts)[:2]
    early, late = await desk.place(held), await desk.place(other)
    somebody = await desk.database.connect("postgres")
    async with running_worker(venue):
        await eventually(desk.outbox_is_empty)
        more_early, more_late = await desk.place(held), await desk.place(other)
        async with somebody.transaction():
            await somebody.execute("SELECT FROM app.streams WHERE stream_id = $1 FOR UPDATE", held)
            for order in (early, late):
                (command,) = venue.sent("place", order)
                await venue.report(command, {"kind": "order_event", "status": "accepted"})
            await eventually(lambda: desk.is_status(late, "accepted"))
            await eventually(lambda: desk.is_status(more_late, "submitted"))
            assert await desk.is_status(early, "submitted")
        await eventually(lambda: desk.is_status(early, "accepted"))
        await eventually(lambda: desk.is_status(more_early, "submitted"))


async def test_many_reports_of_an_account_that_is_written_to_hold_up_no_other(
    desk: Desk, venue: Venue
) -> None:
    """More than one transaction, and more than one reading, would take."""
    held, other = list(desk.accounts)[:2]
    early, late = await desk.place(held), await desk.place(other)
    somebody = await desk.database.connect("postgres")
    async with running_worker(venue):
        await eventually(desk.outbox_is_empty)
        ((first_command,), (last_command,)) = (venue.sent("place", it) for it in (early, late))
        async with somebody.transaction():
            await somebody.execute("SELECT FROM app.streams WHERE stream_id = $1 FOR UPDATE", held)
            for _ in range(INBOX_BATCH_MAX + APPLIED_TOGETHER_MAX):
                await venue.report(first_command, {"kind": "order_event", "status": "accepted"})
            await venue.report(last_command, {"kind": "order_event", "status": "accepted"})
            await eventually(lambda: desk.is_status(late, "accepted"))
            assert await desk.is_status(early, "submitted")
        await eventually(lambda: desk.is_status(early, "accepted"))


async def test_the_answer_of_an_account_that_is_written_to_is_recorded_afterwards(
    desk: Desk, venue: Venue
) -> None:
    answer = asyncio.Event()

    async def script(_action: str, _client_order_id: str) -> None:
        await answer.wait()

    venue.script = script
    free, held = [await desk.place(account) for account in list(desk.accounts)[:2]]
    somebody = await desk.database.connect("postgres")
    async with running_worker(venue):
        await eventually(lambda: venue.sent("place", free) and venue.sent("place", held))
        async with somebody.transaction():
            await somebody.execute(
                "SELECT FROM app.streams WHERE stream_id = $1 FOR UPDATE", list(desk.accounts)[1]
            )
            answer.set()
            await eventually(lambda: desk.is_status(free, "submitted"))
            assert await desk.is_status(held, "submitting")
        await eventually(lambda: desk.is_status(held, "submitted"))
    assert not venue.sent("query"), "the answer was there, and nobody had to ask"


async def test_a_flood_of_pokes_neither_starves_the_worker_nor_makes_it_ask_as_often(
    desk: Desk, venue: Venue
) -> None:
    """NOTIFY cannot be forbidden to a role; here the least of them shouts without pause."""
    shouted = 0

    async def shout() -> None:
        nonlocal shouted
        reader = await desk.database.connect("app_read")
        for number in itertools.count():
            # What is said twice in a transaction is told once, so each has words of its own.
            await reader.execute(f"NOTIFY outbox_poke, '{number} {'x' * 4000}'")
            shouted += 1

    async with running_worker(venue, poll_interval_ms=3_600_000) as worker:
        await eventually(lambda: worker.service.health()[0])
        root = await desk.database.connect("postgres")
        flood = asyncio.create_task(shout())
        try:
            await eventually(lambda: shouted > FLOOD)
            order = await desk.place(first(desk))
            await eventually(lambda: venue.sent("place", order))
            assert not flood.done(), flood
            assert worker.service.health()[0]
            # What is told is thrown away as fast as it comes: the queue of the server stays empty.
            assert await root.fetchval("SELECT pg_notification_queue_usage()") < 0.01
        finally:
            flood.cancel()


async def test_without_a_poke_the_poll_finds_the_order(desk: Desk, venue: Venue) -> None:
    async with running_worker(venue, poll_interval_ms=50) as worker:
        await eventually(lambda: worker.service.health()[0])
        order = await desk.place(first(desk))
        await eventually(lambda: venue.sent("place", order))


async def test_lanes_stay_closed_until_the_bridge_was_heard(desk: Desk) -> None:
    venue = Venue(desk)
    order = await desk.place(first(desk))
    async with running_worker(venue) as worker:
        await eventually(lambda: worker.service.health()[1]["status"] == "no_bridge_heard")
        assert worker.service.health()[0] is False
        assert not venue.commands
        assert await desk.status(order) == "new"
        await venue.heartbeats()
        await eventually(lambda: venue.sent("place", order))
        assert worker.service.health()[1]["status"] == "open"


async def test_a_silent_bridge_closes_its_own_lanes_only(desk: Desk) -> None:
    venue = Venue(desk)
    heard, silent = sorted(desk.accounts)[:2]
    await venue.heartbeat(desk.accounts[heard])
    orders = [await desk.place(silent), await desk.place(heard)]
    async with running_worker(venue) as worker:
        await eventually(lambda: venue.sent("place", orders[1]))
        await eventually(
            lambda: worker.metric("sends_total", action="place", outcome="not_sent") >= 1
        )
        assert not venue.sent("place", orders[0])
        await venue.heartbeat(desk.accounts[silent])
        await eventually(lambda: venue.sent("place", orders[0]))


async def test_a_refused_send_parks_its_lane_and_no_other(desk: Desk, venue: Venue) -> None:
    parked, free = sorted(desk.accounts)[:2]
    refused = await desk.place(parked)
    attempts = 0

    async def script(action: str, client_order_id: str) -> Outcome | None:
        nonlocal attempts
        if client_order_id != refused or attempts >= 2:
            return None
        attempts += 1
        return Outcome(kind=OutcomeKind.THROTTLED, reason="429", retry_after_s=0.2)

    venue.script = script
    async with running_worker(venue):
        await eventually(lambda: attempts == 1)
        behind = await desk.place(parked)
        others = [await desk.place(free) for _ in range(5)]
        await eventually(lambda: all(venue.sent("place", other) for other in others))
        await eventually(desk.outbox_is_empty)
    own = [c.client_order_id for c in venue.sent("place") if c.client_order_id in (refused, behind)]
    assert own == [refused, refused, refused, behind]


async def test_a_slow_answer_holds_up_its_own_lane_only(desk: Desk, venue: Venue) -> None:
    slow, quick = sorted(desk.accounts)[:2]
    stuck = await desk.place(slow)
    answer = asyncio.Event()

    async def script(_action: str, client_order_id: str) -> Outcome | None:
        if client_order_id == stuck:
            await answer.wait()
        return None

    venue.script = script
    async with running_worker(venue, send_timeout_s=9, send_valid_s=10):
        await eventually(lambda: venue.sent("place", stuck))
        orders = [await desk.place(quick) for _ in range(5)]
        await eventually(lambda: all(venue.sent("place", order) for order in orders))
        assert await desk.status(stuck) == "submitting"
        answer.set()
        await eventually(desk.outbox_is_empty)
    assert len(venue.sent("place")) == 6


async def test_a_lease_that_grew_old_between_begin_and_send_keeps_the_order_back(
    desk: Desk, venue: Venue
) -> None:
    order = await desk.place(first(desk))
    late_s = 0.0
    settings = desk.settings()
    database = Database(create_engine(settings, "app_worker"))
    bridges, metrics = Bridges(), Metrics()
    lanes = Lanes(
        direct_connection(settings),
        owner="the one that stalls",
        lease=Lease(20, lambda: steady_clock() + late_s),
        shards_max=16,
        wakes={},
        on_change=lambda _: None,
    )
    sender = Sender(
        database,
        {"quantconnect": PortBroker(venue, "late")},
        lanes,
        bridges,
        metrics,
        limits=SendLimits(timeout_s=2, valid_s=10, ttl_s=120),
        on_account=lambda _: None,
        on_recorded=lambda: None,
    )
    async with running_worker(venue) as other:
        await eventually(lambda: other.bridges.any_heard)
        bridges.update(other.bridges.known)
        await eventually(desk.outbox_is_empty)
    held_back = await desk.place(first(desk))
    await lanes.open()
    blocker = await desk.database.connect("postgres")
    try:
        async with blocker.transaction():
            await blocker.execute("SELECT FROM app.streams FOR UPDATE")
            stalled = asyncio.create_task(sender.step())
            await eventually(lambda: desk.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            late_s = 15.0
        await stalled
        over = asyncio.Event()
        over.set()
        await sender.record(over)
        assert [command.client_order_id for command in venue.sent("place")] == [order]
        assert metrics.registry.get_sample_value(
            "informania_sends_total", {"action": "place", "outcome": "not_sent"}
        )
        assert await desk.status(held_back) == "submitting"
        late_s = 0.0
    finally:
        await lanes.close()
        await database.close()


@pytest.mark.parametrize("application", ["informania-worker-lanes", "informania-app_worker"])
async def test_a_worker_whose_connections_are_cut_goes_on(
    desk: Desk, venue: Venue, application: str
) -> None:
    async with running_worker(venue):
        orders = []
        for _ in range(3):
            orders.append(await desk.place(first(desk)))
            await eventually(lambda: venue.sent("place", orders[-1]))
            cut = await desk.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = $1 AND datname = current_database()",
                application,
            )
            assert cut
        orders.append(await desk.place(first(desk)))
        await eventually(lambda: venue.sent("place", orders[-1]))
        await eventually(desk.outbox_is_empty)
    assert [c.client_order_id for c in venue.sent("place")] == orders


async def test_a_stop_finishes_what_is_in_flight_and_gives_the_shards_back(
    desk: Desk, venue: Venue
) -> None:
    sending, answer = asyncio.Event(), asyncio.Event()

    async def script(_action: str, _client_order_id: str) -> Outcome | None:
        sending.set()
        await answer.wait()
        return None

    venue.script = script
    order = await desk.place(first(desk))
    async with running_worker(venue) as worker:
        await asyncio.wait_for(sending.wait(), 30)
        worker.stopping.set()
        late = await desk.place(first(desk))
        await desk.poke()
        answer.set()
        await worker.stop()
    assert await desk.status(order) == "submitted"
    assert await desk.status(late) == "new"
    owned = await desk.value("SELECT count(*) FROM app.outbox_shards WHERE lease_until > now()")
    assert owned == 0
