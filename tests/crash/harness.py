"""Places orders while processes are killed at every step, then compares our books with the venue's.

usage: python tests/crash/harness.py --seeds 1 2 3 --orders 200 [--control]

Of four seeds in a row two meet a venue that places what it is told without looking for doubles, and
one runs with production's deadlines. Prints a line a seed and the coverage of the points, and
writes .run/crash.json. Exits 1 when an invariant is breached (with --control, when none is: the
control sends blindly and must be caught).
"""

import argparse
import asyncio
import collections
import contextlib
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "ops")]

from clients import Book, place_all  # noqa: E402
from fire import AWAY, Fire  # noqa: E402
from invariants import breaches  # noqa: E402
from platform_client import Platform, Trader, eventually  # noqa: E402

BURN_ON_S = 30
CONTROL_TIMEOUT_S = 10
# trust.md 2a's twelve; the others are ours besides.
POINTS = (
    *("api:recv", "api:before_commit", "api:after_commit", "api:after_reply"),
    *("worker:after_claim", "worker:before_send", "worker:after_send", "worker:mid_fill"),
    *("worker:before_mark_commit", "worker:after_mark", "broker:recv", "broker:after_accept"),
)
# Acknowledgements that get lost, answers that come twice, and fills in every disorder.
FAULTS = {
    "timeout_after_accept": 0.01,
    "5xx_after_accept": 0.02,
    "reset_mid_body": 0.02,
    "throttle": 0.01,
    "lost_webhook": 0.05,
    "duplicate_event": 0.1,
    "out_of_order": 0.05,
    "duplicate_fill": 0.1,
    "fill_before_ack": 0.1,
    "lost_event": 0.02,
    "late_fill": 0.3,
    "partial_then_cancel": 0.03,
    "correction": 0.05,
    "bust": 0.01,
}
# Twice on the wire is the venue's own doing: only its ledger can help against that.
LEDGER_FAULTS = {"duplicate_command": 0.05}
# A keeper forks, so what it imports must not start threads: numpy and pyarrow each would.
NO_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
# The control: between a send and its record, with nobody asking before sending again.
CONTROL = {
    "CRASH_BLIND": "1",
    "CRASH_POINTS": "worker:after_send worker:before_mark_commit",
    "BRIDGE_DEDUPE": "off",
}
QUICK = {
    # Shorter than in production, so that a run sees many take-overs and queries.
    "SEND_VALID_S": "3",
    "QUERY_AFTER_S": "1",
    "OPEN_QUERY_AFTER_S": "5",
    "SHARD_LEASE_S": "6",
    "SEND_TIMEOUT_S": "1",
    "RECONCILE_EVERY_S": "4",
    "EXECUTIONS_EVERY_S": "5",
    # Whoever is killed all the time is slow: an order that gives up is an order that proves little.
    "ORDER_TTL_S": "900",
}
PRODUCTION_LEASE_S = 20.0
# From the end of the fire to rest, with room: production asks about an order that works, and was
# not heard of, after ten minutes.
QUIET_TIMEOUT_S, PRODUCTION_QUIET_TIMEOUT_S = 180, 780
EVENTS = """
    SELECT (SELECT count(*) FROM app.orders WHERE status = 'lost') AS lost,
        (SELECT count(*) FROM app.executions WHERE kind IN ('correction', 'bust')) AS corrections,
        (SELECT count(*) FROM audit.audit_log WHERE action = 'recon.break') AS breaks"""


@dataclass(frozen=True)
class Variant:
    """What a seed meets."""

    dedupes: bool
    production: bool

    @classmethod
    def of(cls, seed: int) -> "Variant":
        return cls(dedupes=seed % 2 == 1, production=seed % 4 == 0)

    @property
    def lease_s(self) -> float:
        return PRODUCTION_LEASE_S if self.production else float(QUICK["SHARD_LEASE_S"])

    @property
    def quiet_timeout_s(self) -> float:
        return PRODUCTION_QUIET_TIMEOUT_S if self.production else QUIET_TIMEOUT_S

    def env(self) -> dict[str, str]:
        faults = FAULTS | (LEDGER_FAULTS if self.dedupes else {})
        return {
            "BRIDGE_DEDUPE": "on" if self.dedupes else "off",
            "FAULTS": ",".join(f"{kind}={probability}" for kind, probability in faults.items()),
            **({} if self.production else QUICK),
        }

    def __str__(self) -> str:
        ledger = "ledger on" if self.dedupes else "ledger off"
        return f"{ledger}, {'production' if self.production else 'short'} deadlines"


@dataclass(frozen=True, kw_only=True)
class How:
    """How a campaign goes about it."""

    seeds: list[int]
    orders: int = 200
    clients: int = 6
    # Of a kill whenever a process passes a point.
    probability: float = 0.01
    # Of the deaths, those after which the supervisor starts a new interpreter.
    cold: float = 0.2
    control: bool = False


@dataclass
class Run:
    """What one seed did and found."""

    seed: int
    orders: int
    tries: int = 0
    burned_s: float = 0.0
    took_s: float = 0.0
    crashes: collections.Counter[str] = field(default_factory=collections.Counter)
    take_overs_s: dict[str, list[float]] = field(default_factory=dict)
    lost: int = 0
    corrections: int = 0
    breaks: int = 0
    breaches: list[str] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"seed {self.seed} ({Variant.of(self.seed)}): {self.orders} orders in {self.tries} "
            f"calls, {self.crashes.total()} crashes at {len(self.crashes)} points in "
            f"{self.burned_s:.0f} s, at rest and judged after {self.took_s:.0f} s, {self.lost} "
            f"lost, {self.corrections} fills corrected or busted, {self.breaks} differences opened "
            f"and ended, {len(self.breaches)} breaches"
        )


class Campaign:
    """One platform, killed again and again."""

    def __init__(self, folder: Path, variant: Variant, how: How) -> None:
        self.folder, self.variant, self.how = folder, variant, how
        self.armed = folder / "armed"
        self.log = folder / "crash.log"
        self.told: dict[str, str] = {}
        self.events: collections.Counter[str] = collections.Counter()
        self.platform = Platform(
            folder / "run",
            env={
                "SERVICES_PYTHONPATH": str(ROOT / "tests" / "crash" / "points"),
                **NO_THREADS,
                "CRASH_SEED": str(how.seeds[0]),
                "CRASH_PROBABILITY": str(how.probability),
                "CRASH_COLD": str(how.cold),
                "CRASH_ARMED": str(self.armed),
                "CRASH_LOG": str(self.log),
                "SIGNIN_LIMIT_PER_MINUTE": "1000",
                # QuantConnect's own lists are ten minutes old: longer than a run has to settle.
                "QC_SNAPSHOT_SECONDS": "2",
                **({**QUICK, **CONTROL} if how.control else variant.env()),
            },
        )

    async def seed(self, seed: int) -> Run:
        """Place orders under fire, let the platform come to rest, then audit it."""
        run = Run(seed, self.how.orders)
        started = time.monotonic()
        book = Book()
        fire = Fire(
            self.platform,
            random.Random(seed),
            self.variant.lease_s,
            self.folder,
            done=lambda: len(book.acknowledged),
        )
        self.log.write_text("")
        async with contextlib.AsyncExitStack() as stack:
            traders = [
                await stack.enter_async_context(Trader(self.platform, "trader"))
                for _ in range(self.how.clients)
            ]
            self.armed.touch()
            burning = asyncio.create_task(fire.burn())
            try:
                await place_all(traders, seed, self.how.orders, book)
                # Sends come after answers: the fire goes on among them for a while.
                with contextlib.suppress(AssertionError):
                    await eventually(self.unsettled, lambda seen: seen == 0, BURN_ON_S)
            finally:
                self.armed.unlink(missing_ok=True)
                burning.cancel()
                # A fire that went out by itself has proved less than the run would say.
                with contextlib.suppress(asyncio.CancelledError):
                    await burning
        run.burned_s = time.monotonic() - started
        run.tries = book.tries
        run.crashes.update(self.log.read_text().split())
        run.crashes.update(fire.counted)
        run.take_overs_s = fire.take_overs_s
        # Earlier seeds on this platform must still hold as well.
        self.told |= book.acknowledged
        await self.audit(run)
        run.took_s = time.monotonic() - started
        return run

    async def audit(self, run: Run) -> None:
        try:
            await eventually(self.unsettled, lambda seen: seen == 0, self.variant.quiet_timeout_s)
        except AssertionError as error:
            run.breaches.append(f"the platform did not come to rest: {error}")
        database = await self.platform.database()
        try:
            run.breaches += await self.disagreement(database)
            rows = dict(await database.fetchrow(EVENTS))
        finally:
            await database.close()
        # The platform's books hold the earlier seeds' too.
        new = {name: count - self.events[name] for name, count in rows.items()}
        run.lost, run.corrections, run.breaks = new["lost"], new["corrections"], new["breaks"]
        self.events.update(new)

    async def disagreement(self, database: asyncpg.Connection) -> list[str]:
        """What is still wrong when the reconcilers have had their time.

        A fill whose report got lost is found by the next look at the venue's list, after its order
        has ended; what is doubled stays so.
        """
        deadline = time.monotonic() + (
            CONTROL_TIMEOUT_S if self.how.control else self.variant.quiet_timeout_s
        )
        while True:
            orders = await self.platform.venue_orders()
            accounts = await self.platform.venue_accounts()
            found = await breaches(database, orders, accounts, self.told)
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(1)

    async def unsettled(self) -> str | int:
        """How much is on its way: orders, owed rows, reports, differences to the venue."""
        try:
            database = await self.platform.database()
            try:
                count: int = await database.fetchval(
                    "SELECT (SELECT count(*) FROM app.orders WHERE status NOT IN"
                    " ('filled', 'denied', 'canceled', 'rejected', 'expired', 'lost'))"
                    " + (SELECT count(*) FROM app.events_outbox)"
                    " + (SELECT count(*) FROM app.outbox_parked)"
                    " + (SELECT count(*) FROM app.inbox WHERE applied_at IS NULL)"
                    " + (SELECT count(*) FROM app.recon_breaks"
                    " WHERE state IN ('suspected', 'open'))"
                    " + (SELECT count(*) FROM app.bridges WHERE sequence"
                    " < (heartbeat ->> 'last_sequence')::bigint)"
                )
                return count
            finally:
                await database.close()
        except (*AWAY, httpx.HTTPError) as error:
            return str(error) or type(error).__name__


def by_variant(seeds: list[int]) -> Iterator[tuple[Variant, list[int]]]:
    """The seeds, those together that share a platform."""
    variants: dict[Variant, list[int]] = {}
    for seed in seeds:
        variants.setdefault(Variant.of(seed), []).append(seed)
    yield from variants.items()


async def campaign(how: How, target: Path | None = None) -> list[Run]:
    """Run the seeds; with a target, what is known is written there after each."""
    runs: list[Run] = []
    for variant, some in by_variant(how.seeds):
        with tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True) as folder:
            one = Campaign(Path(folder), variant, how)
            one.platform.start()
            try:
                for seed in some:
                    runs.append(await one.seed(seed))
                    print(runs[-1].line(), flush=True)  # noqa: T201
                    for breach in runs[-1].breaches[:10]:
                        print(f"  {breach}", flush=True)  # noqa: T201
                    if target is not None:
                        report(runs, target)
            finally:
                one.platform.stop()
    return runs


def report(runs: list[Run], target: Path) -> None:
    points = total(runs)
    target.parent.mkdir(exist_ok=True)
    target.write_text(
        json.dumps(
            {
                "seeds": [run.seed for run in runs],
                "of_production": sum(
                    run.crashes.total() for run in runs if Variant.of(run.seed).production
                ),
                "orders": sum(run.orders for run in runs),
                "crashes": points.total(),
                "breaches": sum(len(run.breaches) for run in runs),
                "lost": sum(run.lost for run in runs),
                "points": dict(sorted(points.items())),
            },
            indent=2,
        )
    )


def total(runs: list[Run]) -> collections.Counter[str]:
    points: collections.Counter[str] = collections.Counter()
    for run in runs:
        points.update(run.crashes)
    return points


def coverage(runs: list[Run]) -> Iterator[str]:
    """How often each point was hit, and how long the lanes were nobody's."""
    points = total(runs)
    for name in (*POINTS, *sorted(points.keys() - set(POINTS))):
        yield f"{name:28} {points[name]:6}"
    for how in ("killed", "stalled"):
        times = [time for run in runs for time in run.take_overs_s.get(how, [])]
        if times:
            yield (
                f"take-over from a {how} worker: median {statistics.median(times):.2f} s, "
                f"at most {max(times):.2f} s, of {len(times)}"
            )
    yield f"{points.total()} crashes, {sum(len(run.breaches) for run in runs)} breaches"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--orders", type=int, default=How.orders, help="orders a seed")
    parser.add_argument("--clients", type=int, default=How.clients, help="traders at once")
    parser.add_argument(
        "--probability", type=float, default=How.probability, help="of a kill at each point"
    )
    parser.add_argument(
        "--cold", type=float, default=How.cold, help="share of deaths that the supervisor mends"
    )
    parser.add_argument("--control", action="store_true", help="send blindly; must be caught")
    parser.add_argument("--output", type=Path, help="where the figures go, as JSON")
    options = vars(parser.parse_args())
    target = options.pop("output")
    how = How(**options)
    # Ended from outside, it stops its platform as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    name = "crash-control.json" if how.control else "crash.json"
    runs = asyncio.run(campaign(how, target or ROOT / ".run" / name))
    for line in coverage(runs):
        print(line)  # noqa: T201
    breached = any(run.breaches for run in runs)
    return int(breached != how.control)


if __name__ == "__main__":
    sys.exit(main())
