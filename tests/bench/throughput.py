"""Measures how many calls a second a program or a coroutine makes."""

import asyncio
import os
import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import mean
from time import monotonic

from bench.bench_cluster import DATABASE
from fixtures_postgres import Cluster

from native import postgres

SCRIPTS = Path(__file__).parent
PROGRESS = re.compile(r"^progress: [0-9.]+ s, ([0-9.]+) tps", re.MULTILINE)
SPARE_S = 60
# Not counted: new sessions compile and plan what they call, and those of the API live half an hour.
WARM_UP_S = 1

Call = Callable[[], Awaitable[object]]


def pgbench(
    cluster: Cluster,
    script: str,
    *,
    clients: int,
    seconds: float,
    role: str,
    database: str = DATABASE,
) -> float:
    """Run a script of this folder from a client in C; return transactions a second."""
    counted = max(1, round(seconds))
    # It says nothing of its last second when that ends with it.
    lasts_s = WARM_UP_S + counted + 1
    done = subprocess.run(
        [
            str(postgres.find_binaries() / "pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--client={clients}", "--progress=1"),
            *(f"--jobs={min(clients, 2)}", f"--time={lasts_s}"),
            *(f"--file={SCRIPTS / script}", f"--host={cluster.host}", f"--port={cluster.port}"),
            f"--username={role}",
            database,
        ],
        env={**os.environ, "PGPASSWORD": cluster.password(role)},
        capture_output=True,
        text=True,
        timeout=lasts_s + SPARE_S,
        check=False,
    )
    by_second = [float(tps) for tps in PROGRESS.findall(done.stderr)][WARM_UP_S:][:counted]
    if (
        done.returncode != 0
        or len(by_second) < counted
        or "failed transactions: 0 " not in done.stdout
    ):
        raise RuntimeError(f"pgbench of {script}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return mean(by_second)


async def calls_a_second(calls: list[Call], seconds: float) -> float:
    """Repeat each call in a task of its own until the time is over."""
    for lasts_s in (WARM_UP_S, seconds):
        end = monotonic() + lasts_s
        counts = await asyncio.gather(*(_repeat(call, end) for call in calls))
    return sum(counts) / seconds


async def _repeat(call: Call, end: float) -> int:
    count = 0
    while monotonic() < end:
        await call()
        count += 1
    return count
