"""What befalls the processes of a run besides the kill points: kills, stalls, a second worker."""

import asyncio
import collections
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from platform_client import ROOT, Platform

SHARDS = 16
STARTS_ANEW_S = 0.5
# What says that the database is down or still starting; asyncpg takes some deaths amid an answer
# for a mistake of its own.
AWAY = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    TimeoutError,
)
# Orders between two strikes, from and to.
POSTGRES_EVERY, WORKERS_EVERY = (8, 25), (10, 30)


@dataclass
class Fire:
    """One seed's disturbances; `take_overs_s` is how long no living worker had the lanes."""

    platform: Platform
    generator: random.Random
    lease_s: float
    folder: Path
    # Orders that were acknowledged: strikes come by them, so that a slow machine is not struck
    # again before it has done anything.
    done: Callable[[], int]
    counted: collections.Counter[str] = field(default_factory=collections.Counter)
    take_overs_s: dict[str, list[float]] = field(
        default_factory=lambda: collections.defaultdict(list)
    )
    second: asyncio.subprocess.Process | None = None
    database: asyncpg.Connection | None = None
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def burn(self) -> None:
        """Disturb until cancelled, and leave nothing stopped behind."""
        tasks = (self.keep_second_worker(), self.strike_postgres(), self.strike_workers())
        try:
            async with asyncio.TaskGroup() as group:
                for task in tasks:
                    group.create_task(task)
        finally:
            if self.database is not None:
                self.database.terminate()
            if self.second is not None and self.second.returncode is None:
                self.second.kill()
                await self.second.wait()

    async def keep_second_worker(self) -> None:
        """Run a worker beside the platform's own, with its environment, and start it anew."""
        command = (str(ROOT / ".venv/bin/python"), "-m", "worker")
        while True:
            with contextlib.suppress(OSError):
                environment = self.environment_of(self.first_worker())
                with (self.folder / "second-worker.log").open("ab") as log:
                    self.second = await asyncio.create_subprocess_exec(
                        *command,
                        env={**environment, "WORKER_METRICS_PORT": "0"},
                        cwd=ROOT,
                        stdout=log,
                        stderr=log,
                    )
                await self.second.wait()
            await asyncio.sleep(STARTS_ANEW_S)

    def first_worker(self) -> int:
        """The platform's own worker; ProcessLookupError while it has none."""
        pid = self.platform.recorded()["services"]["worker"]["pid"]
        if pid is None:
            raise ProcessLookupError
        return int(pid)

    @staticmethod
    def environment_of(pid: int) -> dict[str, str]:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    async def after_orders(self, least: int, most: int) -> None:
        """Wait for some more orders to be acknowledged."""
        due = self.done() + self.generator.randint(least, most)
        # What a trader was told is counted elsewhere, without an event.
        while self.done() < due:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def strike_postgres(self) -> None:
        """Kill a backend or the postmaster now and then; the cluster then goes through recovery."""
        while True:
            await self.after_orders(*POSTGRES_EVERY)
            victim = self.generator.choice(["backend", "backend", "postmaster"])
            # A server that is down or still starting is left alone until the next round.
            with contextlib.suppress(*AWAY, LookupError):
                os.kill(await self.postgres_pid(victim), signal.SIGKILL)
                self.counted[f"postgres:{victim}"] += 1

    async def postgres_pid(self, victim: str) -> int:
        if victim == "postmaster":
            lock = self.platform.run_dir / "postgres" / "postmaster.pid"
            return int(lock.read_text().splitlines()[0])
        pid = await self.look(
            "SELECT pid FROM pg_stat_activity"
            " WHERE usename IN ('app_write', 'app_worker') ORDER BY random() LIMIT 1"
        )
        if pid is None:
            raise ProcessLookupError
        return int(pid)

    async def look(self, query: str, *arguments: object) -> Any:
        """Ask on a connection that is kept: to sign in for each of many looks costs a core."""
        async with self.looking:
            if self.database is None or self.database.is_closed():
                self.database = await self.platform.database()
            try:
                return await self.database.fetchval(query, *arguments, timeout=5)
            except BaseException:
                # Whatever it was, the server may have died amid it, and the next look would wait.
                self.database.terminate()
                self.database = None
                raise

    async def strike_workers(self) -> None:
        """Kill the worker that has the lanes, or stop it past its lease, and see who takes over."""
        strikes = (self.kill_owner, self.stall_owner)
        for turn in range(1_000_000):
            await self.after_orders(*WORKERS_EVERY)
            with contextlib.suppress(*AWAY, LookupError):
                await strikes[turn % 2]()

    async def owner(self) -> int:
        """The process that holds most lanes by a lease that lives."""
        owner = await self.look(
            "SELECT owner FROM app.outbox_shards"
            " WHERE owner IS NOT NULL AND lease_until > clock_timestamp()"
            " GROUP BY owner ORDER BY count(*) DESC LIMIT 1"
        )
        if owner is None:
            raise ProcessLookupError
        return int(str(owner).split(":")[1])

    async def kill_owner(self) -> None:
        pid = await self.owner()
        os.kill(pid, signal.SIGKILL)
        self.counted["worker:killed_owner"] += 1
        await self.await_take_over("killed", pid)

    async def stall_owner(self) -> None:
        """SIGSTOP past the lease: connections stay open, locks held, sends half done."""
        pid = await self.owner()
        os.kill(pid, signal.SIGSTOP)
        try:
            await self.await_take_over("stalled", pid)
            await asyncio.sleep(self.generator.uniform(0, 1))
        finally:
            os.kill(pid, signal.SIGCONT)
        self.counted["worker:stalled"] += 1

    async def await_take_over(self, how: str, pid: int) -> None:
        """Wait until all lanes have another owner, and note how long that took, or for too long."""
        started = time.monotonic()
        while time.monotonic() - started < 2 * self.lease_s + 10:
            with contextlib.suppress(*AWAY):
                others = await self.look(
                    "SELECT count(*) FROM app.outbox_shards WHERE lease_until > clock_timestamp()"
                    " AND split_part(owner, ':', 2) <> $1",
                    str(pid),
                )
                if others == SHARDS:
                    self.take_overs_s[how].append(time.monotonic() - started)
                    return
            await asyncio.sleep(0.05)
