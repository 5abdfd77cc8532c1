"""The worker as it runs, with a venue that takes everything at once and notes what it was sent."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

from bench.bench_cluster import DATABASE, superuser
from fixtures_postgres import Cluster
from pydantic import SecretStr

from app.core.settings import AppEnv, Settings
from app.outbox import repo
from app.services.broker import Outcome, OutcomeKind, Send
from app.services.db import Database, create_engine
from worker.bridges import Bridges
from worker.metrics import Metrics
from worker.service import SHARDS, Service, direct_connection

ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED)
LOOK_EVERY_S = 0.01
DRAIN_TIMEOUT_S = 120
# Every account's far end was heard, and stays so for longer than a run lasts.
BRIDGES = """
INSERT INTO app.bridges (source, deploy_id, epoch, heartbeat_at)
SELECT 'qc:' || a.broker_account, 'bench', 1, clock_timestamp() FROM app.accounts AS a
ON CONFLICT (source) DO UPDATE SET heartbeat_at = excluded.heartbeat_at
"""
# One order each for accounts in turn, in the order of their rows.
ORDERS = """
SELECT count(*) FROM (
    SELECT n, app.sp_place_order(
        lpad(to_hex(1 + n % {accounts}), 32, '0')::uuid, 'bench', 'bench',
        gen_random_uuid()::text, 1 + n % {accounts}, 'AAPL', 'buy', 'limit', 10, 99, NULL, 'day',
        NULL, NULL
    )
    FROM generate_series(1, {orders}) AS n
) AS placed
"""


@dataclass
class Venue:
    """The broker port, answered in memory."""

    taken: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    taken_at: dict[str, float] = field(default_factory=dict)
    first_at: float | None = None
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def place(self, send: Send) -> Outcome:
        """Note the order and accept it."""
        now = perf_counter()
        self.first_at = self.first_at or now
        self.taken[send.account_id].append(send.event_id)
        self.taken_at[send.client_order_id] = now
        async with self.came:
            self.came.notify_all()
        return ACCEPTED

    async def taken_after(self, client_order_id: str) -> float:
        """Wait for an order; return when it came."""
        async with self.came:
            await self.came.wait_for(lambda: client_order_id in self.taken_at)
        return self.taken_at[client_order_id]

    async def cancel(self, send: Send) -> Outcome:
        """Nothing is canceled here."""
        raise NotImplementedError

    replace = query = cancel

    async def acknowledge(self, broker_account: str, sequence: int) -> Outcome:
        """Take the acknowledgement."""
        return ACCEPTED

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def disordered(self) -> int:
        """How many accounts were sent something out of order, or twice."""
        return sum(events != sorted(set(events)) for events in self.taken.values())


def owe(cluster: Cluster, orders: int, accounts: int) -> None:
    """Place orders that wait for a worker."""
    with superuser(cluster, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(BRIDGES)
        # A statement of its own for each part: one transaction would hold all its locks.
        connection.execute(ORDERS.format(orders=orders, accounts=accounts))
        connection.execute("VACUUM ANALYZE app.orders, app.streams, app.events_outbox")


def _settings(cluster: Cluster) -> Settings:
    return Settings(
        app_env=AppEnv.TEST, database_host=cluster.host, database_port=cluster.port,
        database_name=DATABASE, database_pool_size=2, database_acquire_timeout_s=30,
        app_worker_password=SecretStr(cluster.password("app_worker")),
        webhook_hmac=SecretStr("bench"),
        # This venue never reports, and nobody is to ask it.
        query_after_s=3_600, open_query_after_s=3_600,
    )  # fmt: skip


@asynccontextmanager
async def working(cluster: Cluster, venue: Venue, workers: int = 1) -> AsyncIterator[None]:
    """Run workers that share the lanes."""
    settings = _settings(cluster)
    stopping = asyncio.Event()
    database = Database(create_engine(settings, "app_worker"))
    running = [
        asyncio.create_task(
            Service(
                settings, database=database, brokers={"quantconnect": venue}, bridges=Bridges(),
                metrics=Metrics(), shards_max=SHARDS // workers,
            ).run(stopping)
        )
        for _ in range(workers)
    ]  # fmt: skip
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*running)
        await database.close()


async def drained(cluster: Cluster, venue: Venue) -> float:
    """Wait until nothing is owed any more; return the seconds since the first order was sent."""
    with superuser(cluster, autocommit=True) as connection:
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            while True:
                owed = connection.execute("SELECT EXISTS (SELECT FROM app.events_outbox)")
                if owed.fetchone() == (False,) and venue.first_at is not None:
                    return perf_counter() - venue.first_at
                await asyncio.sleep(LOOK_EVERY_S)


@dataclass(frozen=True)
class Lanes:
    """Every lane, owned without a loop: the two procedures of a send, and nothing around them."""

    database: Database
    owner: str
    settings: Settings

    async def begin(self, limit: int = 64) -> list[Send]:
        """Begin what is due, at most so many."""
        async with self.database.transaction() as session:
            return await repo.begin_sends(
                session, self.owner, limit=limit, valid_s=self.settings.send_valid_s,
                ttl_s=self.settings.order_ttl_s, make=Send,
            )  # fmt: skip

    async def accept(self, sends: list[Send]) -> None:
        """Record that the venue took them."""
        results = [
            repo.SendResult(
                event_id=it.event_id, epoch=it.epoch, attempts=it.attempts, outcome=ACCEPTED.kind
            )
            for it in sends
        ]
        async with self.database.transaction() as session:
            applied = await repo.finish_sends(session, self.owner, results)
        if applied != len(sends):
            raise RuntimeError(f"{applied} of {len(sends)} results were applied")


@asynccontextmanager
async def opened_lanes(cluster: Cluster) -> AsyncIterator[Lanes]:
    """Own every lane for as long as this lasts."""
    settings = _settings(cluster)
    database = Database(create_engine(settings, "app_worker"))
    connection = await direct_connection(settings)()
    owner = "bench:in-process"
    await repo.acquire_shards(connection, owner, shards_max=SHARDS, lease_s=600)
    try:
        yield Lanes(database, owner, settings)
    finally:
        await repo.release_shards(connection, owner)
        await connection.close()
        await database.close()
