"""What the worker is worth: against two queues in Postgres, with a long past, and as it wakes."""

from statistics import median
from time import perf_counter

import uvloop
from bench.bench_cluster import ACCOUNTS, freshen, superuser
from bench.carrying import BRIDGES, Venue, drained, opened_lanes, owe, working
from bench.ours import opened
from bench.queues import pgqueuer_seconds, procrastinate_seconds
from fixtures_postgres import Cluster

from app.core.logging import configure_logging

BATCH = 100
ORDERS = 2_000
JOBS = 4_000
LOCKED_JOBS, LOCKED_ACCOUNTS = 200, 50
PAST = 5_000_000
WORKERS = 4
CROWDED_ACCOUNTS = 200
ALONE, WARM = 60, 10
MANY_DONE = """
INSERT INTO app.events_done (
    event_id, shard, stream_id, kind, order_id, payload, request_id, attempts, outcome, created_at
)
SELECT -n, n %% 16, 1 + n %% 1000, 'order.place.v1', n, '{}', 'past', 1, 'accepted', now()
FROM generate_series(1, %s) AS n
"""


def _orders_a_second(cluster: Cluster, orders: int = ORDERS, accounts: int = ACCOUNTS) -> float:
    async def drain() -> float:
        venue = Venue()
        async with working(cluster, venue):
            return await drained(cluster, venue)

    # A line for each send would go to the terminal of whoever measures.
    configure_logging("warning", "bench")
    freshen(cluster)
    owe(cluster, orders, accounts)
    return orders / uvloop.run(drain())


def against_pgqueuer(cluster: Cluster, _: float) -> tuple[float, float]:
    """Compare draining owed orders with draining as many jobs of pgqueuer, which keeps no order."""
    return _orders_a_second(cluster), JOBS / uvloop.run(pgqueuer_seconds(cluster, JOBS, BATCH))


def against_procrastinate(cluster: Cluster, _: float) -> tuple[float, float]:
    """Compare with procrastinate, whose locks keep the order of each account as we do."""
    seconds = uvloop.run(procrastinate_seconds(cluster, LOCKED_JOBS, LOCKED_ACCOUNTS))
    return _orders_a_second(cluster), LOCKED_JOBS / seconds


def against_procedures(cluster: Cluster, _: float) -> tuple[float, float]:
    """Compare the worker with the two procedures of its sends, one batch after the other."""

    async def alone() -> float:
        async with opened_lanes(cluster) as lanes:
            started = perf_counter()
            while sends := await lanes.begin(BATCH):
                await lanes.accept(sends)
            return ORDERS / (perf_counter() - started)

    carried = _orders_a_second(cluster)
    freshen(cluster)
    owe(cluster, ORDERS, ACCOUNTS)
    return carried, uvloop.run(alone())


def with_a_past(cluster: Cluster, _: float) -> tuple[float, float]:
    """Compare draining beside five million rows that are done with draining beside none."""
    with superuser(cluster, autocommit=True) as connection:
        connection.execute("TRUNCATE app.events_done")
        empty = _orders_a_second(cluster)
        connection.execute(MANY_DONE, [PAST])
        connection.execute("VACUUM ANALYZE app.events_done")
        full = _orders_a_second(cluster)
        connection.execute("TRUNCATE app.events_done")
    return full, empty


def disordered(cluster: Cluster, _: float) -> tuple[float, float]:
    """Count the accounts that four workers sent anything out of order or twice."""

    async def drain() -> Venue:
        venue = Venue()
        async with working(cluster, venue, WORKERS):
            await drained(cluster, venue)
        return venue

    configure_logging("warning", "bench")
    freshen(cluster)
    owe(cluster, ORDERS, CROWDED_ACCOUNTS)
    venue = uvloop.run(drain())
    sent = sum(len(events) for events in venue.taken.values())
    if sent != ORDERS or len(venue.taken) != CROWDED_ACCOUNTS:
        raise RuntimeError(f"{sent} of {ORDERS} orders were sent")
    return venue.disordered, 1


def woken(cluster: Cluster, _: float) -> tuple[float, float]:
    """Compare how soon after its commit an order is at the venue with calling the worker at once.

    One side is the product: the API's wake-up through Postgres, to a worker with its own loop. The
    other is the least it could be: the process that placed the order begins the send itself.
    Returns the median of each, in seconds.
    """

    async def through_postgres() -> float:
        venue, waits = Venue(), []
        async with working(cluster, venue), opened(cluster, poke=True) as ours:
            for number in range(ALONE):
                client_order_id = await ours.place(1 + number)
                committed_at = perf_counter()
                waits.append(await venue.taken_after(client_order_id) - committed_at)
        return median(waits[WARM:])

    async def in_process() -> float:
        waits = []
        async with opened_lanes(cluster) as lanes, opened(cluster) as ours:
            for number in range(ALONE):
                await ours.place(1 + number)
                committed_at = perf_counter()
                if not await lanes.begin():
                    raise RuntimeError("nothing was begun")
                waits.append(perf_counter() - committed_at)
        return median(waits[WARM:])

    configure_logging("warning", "bench")
    medians = []
    for side in (through_postgres, in_process):
        freshen(cluster)
        with superuser(cluster, autocommit=True) as connection:
            connection.execute(BRIDGES)
        medians.append(uvloop.run(side()))
    return medians[0], medians[1]
