"""Places orders while processes are killed at every step, then compares our books with the venue's.

usage: python tests/crash/harness.py --seeds 1 2 3 --orders 200 [--control]

Prints a line a seed and writes .run/crash.json. Exits 1 when an invariant is breached (with
--control, when none is: the control sends blindly and must be caught).
"""

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "ops")]

from platform_client import Platform, Trader, eventually  # noqa: E402

CLIENTS = 6
QUIET_TIMEOUT_S = 90
# The control: between a send and its record, with nobody asking before sending again.
CONTROL = {
    "CRASH_BLIND": "1",
    "CRASH_POINTS": "worker:after_send worker:before_finish",
    "BRIDGE_DEDUPE": "off",
}
OPEN_STATES = ("new", "submitting", "submit_unknown", "submitted", "pending_cancel", "lost")


@dataclass
class Run:
    """What one seed did and found."""

    seed: int
    orders: int
    tries: int = 0
    crashes: collections.Counter[str] = field(default_factory=collections.Counter)
    lost: int = 0
    breaches: list[str] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"seed {self.seed}: {self.orders} orders in {self.tries} calls, "
            f"{self.crashes.total()} kills at {len(self.crashes)} points, {self.lost} lost, "
            f"{len(self.breaches)} breaches"
        )


class Campaign:
    """One platform, killed again and again."""

    def __init__(self, folder: Path, *, control: bool, probability: float) -> None:
        self.folder = folder
        self.control = control
        self.armed = folder / "armed"
        self.log = folder / "crash.log"
        self.platform = Platform(
            folder / "run",
            env={
                "SERVICES_PYTHONPATH": str(ROOT / "tests" / "crash" / "points"),
                "CRASH_SEED": "0",
                "CRASH_PROBABILITY": str(probability),
                "CRASH_ARMED": str(self.armed),
                "CRASH_LOG": str(self.log),
                "SIGNIN_LIMIT_PER_MINUTE": "1000",
                # Shorter than in production, so that a run sees many take-overs and queries.
                "SEND_VALID_S": "3",
                "QUERY_AFTER_S": "1",
                "SHARD_LEASE_S": "6",
                "SEND_TIMEOUT_S": "1",
                **(CONTROL if control else {}),
            },
        )

    async def seed(self, seed: int, orders: int) -> Run:
        """Place orders under fire, let the platform come to rest, then audit it."""
        run = Run(seed, orders)
        generator = random.Random(seed)
        self.log.write_text("")
        async with contextlib.AsyncExitStack() as stack:
            traders = [
                await stack.enter_async_context(Trader(self.platform, "trader"))
                for _ in range(CLIENTS)
            ]
            self.armed.touch()
            killer = asyncio.create_task(self.kill_postgres(generator, run))
            try:
                acknowledged = await place_all(traders, run)
            finally:
                killer.cancel()
                await asyncio.gather(killer, return_exceptions=True)
                self.armed.unlink(missing_ok=True)
        run.crashes.update(self.log.read_text().split())
        await self.audit(run, acknowledged)
        return run

    async def kill_postgres(self, generator: random.Random, run: Run) -> None:
        """Kill a backend or the postmaster now and then; the cluster then goes through recovery."""
        while True:
            await asyncio.sleep(generator.uniform(2, 5))
            victim = generator.choice(["backend", "backend", "postmaster"])
            # A server that is down or still starting is left alone until the next round.
            with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError, LookupError):
                os.kill(await self.postgres_pid(victim), signal.SIGKILL)
                run.crashes[f"postgres:{victim}"] += 1

    async def postgres_pid(self, victim: str) -> int:
        if victim == "postmaster":
            lock = self.platform.run_dir / "postgres" / "postmaster.pid"
            return int(lock.read_text().splitlines()[0])
        database = await self.platform.database()
        try:
            pid: int | None = await database.fetchval(
                "SELECT pid FROM pg_stat_activity"
                " WHERE usename IN ('app_write', 'app_worker') ORDER BY random() LIMIT 1"
            )
            if pid is None:
                raise ProcessLookupError
            return pid
        finally:
            await database.close()

    async def audit(self, run: Run, acknowledged: dict[str, str]) -> None:
        async def unsettled() -> str | int:
            try:
                database = await self.platform.database()
                try:
                    count: int = await database.fetchval(
                        "SELECT (SELECT count(*) FROM app.orders WHERE status = ANY($1))"
                        " + (SELECT count(*) FROM app.events_outbox)"
                        " + (SELECT count(*) FROM app.inbox WHERE applied_at IS NULL)",
                        list(OPEN_STATES[:-1]),
                    )
                    return count
                finally:
                    await database.close()
            except (OSError, asyncpg.PostgresError, TimeoutError) as error:
                return str(error)

        try:
            await eventually(unsettled, lambda seen: seen == 0, QUIET_TIMEOUT_S)
        except AssertionError as error:
            run.breaches.append(f"the platform did not come to rest: {error}")
        database = await self.platform.database()
        try:
            await check(database, await self.platform.venue_orders(), run, acknowledged)
        finally:
            await database.close()


async def place_all(traders: list[Trader], run: Run) -> dict[str, str]:
    """Place the run's orders by all traders at once; what was acknowledged, by client order id."""
    acknowledged: dict[str, str] = {}

    async def client(trader: Trader, number: int) -> None:
        choices = random.Random(f"{run.seed}:{number}")
        for n in range(number, run.orders, len(traders)):
            key = f"c{run.seed}-{n}-{uuid.uuid4().hex[:12]}"
            order = {
                "account_id": choices.choice(trader.user["accounts"]),
                "symbol": choices.choice(["AAPL", "MSFT", "IBM", "GOOG"]),
                "side": choices.choice(["buy", "sell"]),
                "quantity": str(choices.randint(1, 20)),
            }
            acknowledged[key] = await place_until_told(trader, key, order, choices, run)

    await asyncio.gather(*(client(trader, n) for n, trader in enumerate(traders)))
    return acknowledged


async def place_until_told(
    trader: Trader, key: str, order: dict[str, str], choices: random.Random, run: Run
) -> str:
    """Repeat the same request until it is answered, and sometimes once more for no reason."""
    while True:
        run.tries += 1
        try:
            answer = await trader.place(key, **order)
        except httpx.HTTPError:
            answer = None
        if answer is not None and answer.status_code in {httpx.codes.OK, httpx.codes.CREATED}:
            if choices.random() > 0.1:
                return str(answer.json()["order_id"])
        elif answer is not None and answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            raise AssertionError(f"{answer.status_code} for a good order: {answer.text}")
        await asyncio.sleep(choices.uniform(0.02, 0.2))


BOOKS = {
    "an order's quantity differs from its executions": """
        SELECT o.client_order_id FROM app.orders AS o
        LEFT JOIN (SELECT order_id, sum(quantity) AS q FROM app.executions GROUP BY 1) AS e
            USING (order_id)
        WHERE o.cum_quantity <> coalesce(e.q, 0)""",
    "an order is neither filled nor denied": """
        SELECT client_order_id || ' ' || status FROM app.orders
        WHERE status NOT IN ('filled', 'denied', 'lost')
            AND reason_code IS DISTINCT FROM 'EXPIRED_BEFORE_SEND'""",
    "a position differs from its executions": """
        SELECT p.account_id || '/' || p.instrument_id FROM app.positions AS p
        FULL JOIN (
            SELECT account_id, instrument_id,
                sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END) AS q
            FROM app.executions GROUP BY 1, 2
        ) AS e USING (account_id, instrument_id)
        WHERE p.quantity IS DISTINCT FROM e.q""",
    "cash differs from movements and executions": """
        SELECT b.account_id::text FROM app.cash_balances AS b
        WHERE b.amount <> (
            SELECT coalesce(sum(m.amount), 0) FROM app.cash_movements AS m
            WHERE m.account_id = b.account_id
        ) - (
            SELECT coalesce(sum(
                CASE e.side WHEN 'buy' THEN e.quantity * e.price ELSE -e.quantity * e.price END
                + e.fee), 0)
            FROM app.executions AS e WHERE e.account_id = b.account_id
        )""",
    "an audit chain is broken": """
        SELECT s.stream_id::text FROM app.streams AS s
        CROSS JOIN LATERAL app.sp_audit_verify(s.stream_id) AS v
        WHERE v.broken_seq IS NOT NULL""",
    "a lane is still parked": "SELECT stream_id::text FROM app.outbox_parked",
    "an order was given up": "SELECT event_id::text FROM app.events_dead",
}


async def check(
    database: asyncpg.Connection,
    venue: list[dict[str, Any]],
    run: Run,
    acknowledged: dict[str, str],
) -> None:
    """Every invariant, over everything this platform has done so far."""
    ours = {row["client_order_id"]: row for row in await database.fetch("SELECT * FROM app.orders")}
    for key, order_id in acknowledged.items():
        if key not in ours or str(ours[key]["order_id"]) != order_id:
            run.breaches.append(f"acknowledged order {key} is not in the books")
    run.lost = sum(row["status"] == "lost" for row in ours.values())

    counted = collections.Counter(order["client_order_id"] for order in venue)
    run.breaches += [f"{key} is {n} times at the venue" for key, n in counted.items() if n > 1]
    filled = {key for key, row in ours.items() if row["status"] == "filled"}
    run.breaches += [f"{key} is filled but not at the venue" for key in filled - set(counted)]
    run.breaches += [f"{key} is at the venue only" for key in set(counted) - filled]

    for title, query in BOOKS.items():
        for row in await database.fetch(query):
            run.breaches.append(f"{title}: {row[0]}")


async def campaign(
    seeds: list[int], orders: int, *, control: bool, probability: float
) -> list[Run]:
    with tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True) as folder:
        fire = Campaign(Path(folder), control=control, probability=probability)
        fire.platform.start()
        try:
            runs = []
            for seed in seeds:
                runs.append(await fire.seed(seed, orders))
                print(runs[-1].line(), flush=True)  # noqa: T201
                for breach in runs[-1].breaches[:10]:
                    print(f"  {breach}", flush=True)  # noqa: T201
            return runs
        finally:
            fire.platform.stop()


def report(runs: list[Run], target: Path) -> None:
    points: collections.Counter[str] = collections.Counter()
    for run in runs:
        points.update(run.crashes)
    target.parent.mkdir(exist_ok=True)
    target.write_text(
        json.dumps(
            {
                "seeds": [run.seed for run in runs],
                "orders": sum(run.orders for run in runs),
                "crashes": points.total(),
                "breaches": sum(len(run.breaches) for run in runs),
                "lost": sum(run.lost for run in runs),
                "points": dict(sorted(points.items())),
            },
            indent=2,
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--orders", type=int, default=200, help="orders a seed")
    parser.add_argument("--probability", type=float, default=0.01, help="of a kill at each point")
    parser.add_argument("--control", action="store_true", help="send blindly; must be caught")
    options = parser.parse_args()
    runs = asyncio.run(
        campaign(
            options.seeds,
            options.orders,
            control=options.control,
            probability=options.probability,
        )
    )
    report(runs, ROOT / ".run" / ("crash-control.json" if options.control else "crash.json"))
    breached = any(run.breaches for run in runs)
    return int(breached != options.control)


if __name__ == "__main__":
    sys.exit(main())
