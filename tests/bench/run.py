"""Measures what the platform's speed is worth, as ratios within one run.

usage: python tests/bench/run.py [--rounds 5] [--seconds 3] [ROW ...]

Every row compares two ways in alternating rounds on one Postgres, in memory, whose commits take a
millisecond, and prints the median of the rounds' ratios. Names, goals and rows go to
.run/bench/place.json. Exits 1 when a goal is missed.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tests", "backend/tests", "ops", "tests/crash"):
    sys.path.insert(0, str(ROOT / _folder))

import uvloop  # noqa: E402
from bench.bars_row import arrow_against_copy, json_against_arrow  # noqa: E402
from bench.bench_cluster import bench_cluster, freshen, superuser  # noqa: E402
from bench.drain_rows import (  # noqa: E402
    against_pgqueuer,
    against_procedures,
    against_procrastinate,
    disordered,
    with_a_past,
    woken,
)
from bench.http_row import door_against_procedure, http_against_procedure  # noqa: E402
from bench.ours import CONNECTIONS, opened  # noqa: E402
from bench.rival_tables import TABLES  # noqa: E402
from bench.rivals import Rivals  # noqa: E402
from bench.throughput import Call, calls_a_second, pgbench  # noqa: E402
from bench.verify_row import by_api, by_command_line, by_statement  # noqa: E402
from fixtures_postgres import Cluster  # noqa: E402

CALLERS = CONNECTIONS
HOT_CALLERS = 64
HOT_ACCOUNT = 7
BATCH = 50

Result = TypeVar("Result")
Measure = Callable[[Cluster, float], tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """One comparison: what it is called, what it should reach, and what limits it."""

    name: str
    goal: float
    limit: str
    measure: Measure
    # Of what should be small.
    at_most: bool = False
    unit: str = "/s"

    def reached(self, ratio: float) -> bool:
        """Say whether the goal is reached."""
        return ratio <= self.goal if self.at_most else ratio >= self.goal


def scripts(ours: str, other: str, role: str, *, clients: int = CALLERS, worth: int = 1) -> Measure:
    """Compare two scripts; a call of the first is worth so many of the second."""

    def measure(cluster: Cluster, seconds: float) -> tuple[float, float]:
        mine, bare = (
            pgbench(cluster, script, clients=clients, seconds=seconds, role=role)
            for script in (ours, other)
        )
        return mine * worth, bare

    return measure


def rival(name: str) -> Measure:
    """Compare our call with another way of writing the same, both from one Python process."""

    async def both(cluster: Cluster, seconds: float) -> tuple[float, float]:
        rivals = Rivals(cluster)
        try:
            async with opened(cluster) as ours:
                mine = await calls_a_second([ours.by_procedure] * CALLERS, seconds)
            other: Call = getattr(rivals, name)
            return mine, await calls_a_second([other] * CALLERS, seconds)
        finally:
            await rivals.engine.dispose()

    return lambda cluster, seconds: run(both(cluster, seconds))


def hot_account(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Compare orders of one account that the API gathers with orders that go alone."""

    async def measured(*, gathered: bool) -> float:
        async with opened(cluster, gathered=gathered) as ours:
            call = partial(ours.place, HOT_ACCOUNT)
            return await calls_a_second([call] * HOT_CALLERS, seconds)

    together = run(measured(gathered=True))
    freshen(cluster)
    return together, run(measured(gathered=False))


def wake(cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Compare placing with the wake-up of the worker with placing without it."""

    async def measured(*, poke: bool) -> float:
        async with opened(cluster, poke=poke) as ours:
            return await calls_a_second([ours.by_procedure] * CALLERS, seconds)

    return run(measured(poke=True)), run(measured(poke=False))


def run(measurement: Coroutine[object, object, Result]) -> Result:
    """Run a measurement on the loop that the API uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measurement)


ROWS = (
    Row(
        "place_vs_insert_c1", 0.50, "the CPU of one backend; one commit each",
        scripts("place.sql", "insert.sql", "app_write", clients=1),
    ),
    Row(
        "place_vs_insert_c8", 0.40, "two cores, which eight backends share",
        scripts("place.sql", "insert.sql", "app_write"),
    ),
    Row(
        "place_vs_orm_c8", 8, "the client: one Python process on one core",
        rival("by_orm"),
    ),
    Row(
        "place_vs_tuned_c8", 1.2, "the client, and three round trips on either side",
        rival("by_core"),
    ),
    Row(
        "batch50_vs_insert_c8", 3.5, "the CPU of two cores; the commit is shared by 50",
        scripts("batch50.sql", "insert.sql", "app_write", worth=BATCH),
    ),
    Row(
        "hot_account_batched_vs_single", 10, "one lock: one commit at a time",
        hot_account,
    ),
    Row("wake_vs_no_wake", 0.95, "one more connection that notifies", wake),
    Row(
        "audit_vs_plain_insert", 0.85, "the update of the stream's head, and its row lock",
        scripts("audit.sql", "audit_plain.sql", "postgres"),
    ),
    Row(
        "audit_verify_vs_100k_rows", 1.0, "the CPU of all cores: a hash and a text for each row",
        by_command_line,
    ),
    Row(
        "audit_verify_api_vs_100k_rows", 1.0, "the same, beside the worker and the venue", by_api,
    ),
    Row("audit_verify_sql_vs_100k_rows", 1.0, "the CPU of one core", by_statement),
    Row(
        "http_vs_procedure_c8", 0.5, "two cores: Caddy, the API and this client share them",
        http_against_procedure,
    ),
    Row(
        "http_door_vs_procedure_c8", 0.5, "the same, while the worker and the venue are stopped",
        door_against_procedure,
    ),
    Row(
        "bars_arrow_vs_copy", 0.25, "the CPU of one backend: it judges each row before it writes",
        arrow_against_copy,
    ),
    Row(
        "bars_json_vs_arrow", 0.2, "our strict JSON parser, in Python",
        json_against_arrow,
    ),
    Row(
        "drain_vs_pgqueuer", 5, "the risk rules once more, and two moves of the order with audit",
        against_pgqueuer,
    ),
    Row(
        "drain_vs_procrastinate_lock", 50, "as above; what it is compared with keeps order as well",
        against_procrastinate,
    ),
    Row(
        "drain_vs_procedures", 0.7, "the worker's loop, a task for each send, on the same cores",
        against_procedures,
    ),
    Row(
        "drain_5m_done_vs_empty", 0.9, "nothing: what is done is in another table",
        with_a_past,
    ),
    Row("disordered_accounts", 0, "accounts, with four workers", disordered, at_most=True, unit=""),
    Row(
        "commit_to_venue_p50_vs_inprocess", 1.5, "one notification, and a loop that wakes",
        woken, at_most=True, unit=" s",
    ),
)  # fmt: skip


def main() -> int:
    """Measure the rows that were asked for; print and write them."""
    # Whoever ends it ends the servers it started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = read_options()
    chosen = [row for row in ROWS if not options.rows or row.name in options.rows]
    with bench_cluster() as cluster:
        with superuser(cluster) as connection:
            connection.execute(TABLES)
        report = [measured(row, cluster, options.rounds, options.seconds) for row in chosen]
    target = ROOT / ".run" / "bench" / "place.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"rows": report}, indent=2) + "\n")
    return int(not all(row["reached"] for row in report))


def measured(row: Row, cluster: Cluster, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure one row; the first round only warms up."""
    pairs = []
    for number in range(rounds + 1):
        freshen(cluster)
        pair = row.measure(cluster, seconds if number else min(seconds, 1))
        pairs += [pair] if number else []
    ratio = median(ours / other for ours, other in pairs)
    ours, other = (median(side) for side in zip(*pairs, strict=True))
    verdict = "ok  " if row.reached(ratio) else "MISS"
    bound = "at most" if row.at_most else "goal"
    print(  # noqa: T201
        f"{verdict} {row.name:30} {ratio:7.2f}  {bound} {row.goal:5}"
        f"  {ours:9,.5g}{row.unit} against {other:9,.5g}{row.unit}  limit: {row.limit}",
        flush=True,
    )
    return {
        "name": row.name, "ratio": round(ratio, 3), "goal": row.goal, "reached": row.reached(ratio),
        "higher_is_better": not row.at_most, "ours": float(f"{ours:.5g}"),
        "other": float(f"{other:.5g}"), "unit": row.unit.strip(), "limit": row.limit,
    }  # fmt: skip


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of one side of one round")
    parser.add_argument("rows", nargs="*", choices=[[], *(row.name for row in ROWS)])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
