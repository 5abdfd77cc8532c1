"""Two libraries that also carry work out of Postgres, each drained as its manual says."""

import asyncio
from datetime import timedelta
from time import perf_counter

import asyncpg
import procrastinate
from bench.bench_cluster import DATABASE, superuser
from fixtures_postgres import Cluster
from pgqueuer import AsyncpgPoolDriver, PgQueuer, Queries
from pgqueuer.domain.types import QueueExecutionMode

ENTRYPOINT = "bench_send"
CONCURRENCY = 8


def _dsn(cluster: Cluster) -> str:
    return (
        f"postgresql://postgres:{cluster.password('postgres')}@{cluster.host}:{cluster.port}"
        f"/{DATABASE}"
    )


async def pgqueuer_seconds(cluster: Cluster, jobs: int, batch: int) -> float:
    """Seconds that pgqueuer takes from its first job to its last, in batches and in no order."""
    async with asyncpg.create_pool(_dsn(cluster), min_size=2, max_size=CONCURRENCY) as pool:
        driver = AsyncpgPoolDriver(pool)
        queries = Queries(driver)
        if not await queries.has_table("pgqueuer"):
            await queries.install()
        await pool.execute("TRUNCATE pgqueuer, pgqueuer_log")
        await queries.enqueue([ENTRYPOINT] * jobs, [b"order"] * jobs, [0] * jobs)
        queue = PgQueuer(driver)
        times: list[float] = []

        @queue.entrypoint(ENTRYPOINT)
        async def send(_: object) -> None:
            times.append(perf_counter())

        await queue.qm.run(
            batch_size=batch, mode=QueueExecutionMode.drain, dequeue_timeout=timedelta(seconds=1)
        )
        done = perf_counter()
        if len(times) != jobs:
            raise RuntimeError(f"pgqueuer did {len(times)} of {jobs} jobs")
        return done - times[0]


async def procrastinate_seconds(cluster: Cluster, jobs: int, accounts: int) -> float:
    """Seconds that procrastinate takes for jobs that keep the order of each account by a lock."""
    connector = procrastinate.PsycopgConnector(conninfo=_dsn(cluster), max_size=CONCURRENCY + 2)
    app = procrastinate.App(connector=connector)
    times: list[float] = []

    @app.task(name=ENTRYPOINT)
    async def send(account: int) -> None:
        times.append(perf_counter())

    async with app.open_async():
        with superuser(cluster, autocommit=True) as connection:
            known = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
            if known == (None,):
                await app.schema_manager.apply_schema_async()
            connection.execute("TRUNCATE procrastinate_jobs CASCADE")
        for first in range(0, jobs, accounts):
            for account in range(min(accounts, jobs - first)):
                await send.configure(lock=f"account {account}").defer_async(account=account)
        await app.run_worker_async(
            concurrency=CONCURRENCY, wait=False, install_signal_handlers=False,
            listen_notify=False,
        )  # fmt: skip
        done = perf_counter()
    if len(times) != jobs:
        raise RuntimeError(f"procrastinate did {len(times)} of {jobs} jobs")
    return done - times[0]


def run_pgqueuer(cluster: Cluster, jobs: int, batch: int) -> float:
    """Jobs a second."""
    return jobs / asyncio.run(pgqueuer_seconds(cluster, jobs, batch))
