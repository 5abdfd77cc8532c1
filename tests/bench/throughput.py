"""Measures how many calls a second a program or a coroutine makes."""

import asyncio
import os
import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

from bench.bench_cluster import DATABASE
from fixtures_postgres import Cluster

from native import postgres

SCRIPTS = Path(__file__).parent
TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
SPARE_S = 60

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
    done = subprocess.run(
        [
            str(postgres.find_binaries() / "pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--client={clients}"),
            *(f"--jobs={min(clients, 2)}", f"--time={max(1, round(seconds))}"),
            *(f"--file={SCRIPTS / script}", f"--host={cluster.host}", f"--port={cluster.port}"),
            f"--username={role}",
            database,
        ],
        env={**os.environ, "PGPASSWORD": cluster.password(role)},
        capture_output=True,
        text=True,
        timeout=seconds + SPARE_S,
        check=False,
    )
    found = TPS.search(done.stdout)
    if done.returncode != 0 or found is None or "failed transactions: 0 " not in done.stdout:
        raise RuntimeError(f"pgbench of {script}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return float(found[1])


async def calls_a_second(calls: list[Call], seconds: float) -> float:
    """Repeat each call in a task of its own until the time is over."""
    end = monotonic() + seconds
    counts = await asyncio.gather(*(_repeat(call, end) for call in calls))
    return sum(counts) / seconds


async def _repeat(call: Call, end: float) -> int:
    count = 0
    while monotonic() < end:
        await call()
        count += 1
    return count
