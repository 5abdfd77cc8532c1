"""Runs services in order of health, restarts them, and stops them in reverse order."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from native.log_files import rotate, tail
from native.processes import become_subreaper, ended, kill_adopted, kill_group, send, spawn
from native.spec import Policy, Service
from native.state import write_state
from native.unit import Unit, stop_waves

Say = Callable[[str], None]
PATIENT = Policy()
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LOG_LINES_SHOWN = 15


class Supervisor:
    """Brings the services up, keeps them up until a signal comes, and leaves none behind."""

    def __init__(
        self, services: Sequence[Service], run_dir: Path, say: Say, policy: Policy = PATIENT
    ) -> None:
        logs = run_dir / "logs"
        self._units = {it.name: Unit(it, logs / f"{it.name}.log") for it in services}
        self._run_dir = run_dir
        self._say = say
        self._policy = policy
        self._phase, self._failure = "starting", ""
        self._stopping, self._retry = asyncio.Event(), asyncio.Event()

    async def run(self) -> int:
        """Return 0 after a stop that was asked for, 1 when the platform did not come up."""
        become_subreaper()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGUSR1, self._retry.set)
        jobs = [self._keep(unit) for unit in self._units.values()]
        tasks = [asyncio.create_task(job) for job in (*jobs, self._progress(), self._sweep())]
        for task in tasks:
            task.add_done_callback(self._on_done)
        await self._stopping.wait()
        self._record(phase="stopping")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stop_all()
        self._record(phase="failed" if self._failure else "stopped")
        return 1 if self._failure else 0

    def _on_done(self, task: asyncio.Task[None]) -> None:
        # A mistake of ours must not leave a platform that nobody watches.
        if not task.cancelled() and (error := task.exception()):
            self._say(f"the supervisor failed: {error!r}")
            self._fail(f"the supervisor failed: {error!r}")

    def _record(self, unit: Unit | None = None, state: str = "", phase: str = "") -> None:
        if unit and state:
            unit.state = state
        self._phase = phase or self._phase
        head = {"supervisor": os.getpid(), "phase": self._phase, "failure": self._failure}
        facts = {name: unit.facts() for name, unit in self._units.items()}
        # A full disk is the services' trouble first; it must not keep us from stopping them.
        with contextlib.suppress(OSError):
            write_state(self._run_dir / "state.json", {**head, "services": facts})

    async def _keep(self, unit: Unit) -> None:
        for need in unit.service.needs:
            await self._units[need].up.wait()
        while True:
            try:
                code = await self._run_once(unit)
                reason = f"ended with code {code}"
            except OSError as error:
                code, reason = 1, f"cannot be started: {error}"
            if unit.service.oneshot and code == 0:
                self._announce(unit, "done", "is done")
                return
            await self._after_failure(unit, reason)

    async def _run_once(self, unit: Unit) -> int:
        unit.open_log(self._policy.log_bytes_max)
        service = unit.service
        unit.process = spawn(service.argv, env=service.env, cwd=service.cwd, log=unit.log)
        self._record(unit, "starting")
        watch = asyncio.create_task(self._watch(unit, unit.process))
        try:
            return await ended(unit.process)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            if unit.process.poll() is not None:
                kill_group(unit.process.pid)
                self._kill_orphans()

    async def _watch(self, unit: Unit, process: subprocess.Popen[bytes]) -> None:
        limit_s = unit.service.ready_timeout_s
        try:
            await asyncio.wait_for(self._healthy(unit), limit_s)
        except TimeoutError:
            self._say(f"{unit.label} took longer than {limit_s:g} s: killed")
            send(process.pid, signal.SIGKILL)
            return
        unit.failures = 0
        self._announce(unit, "healthy", "is healthy")
        misses = 0
        while probe := unit.service.probe:
            await asyncio.sleep(self._policy.watch_interval_s)
            misses = 0 if await probe() else misses + 1
            if misses == 0 and unit.state == "unhealthy":
                self._record(unit, "healthy")
            elif misses == self._policy.misses_max:
                self._say(f"{unit.label} does not answer any more")
                self._record(unit, "unhealthy")

    async def _healthy(self, unit: Unit) -> None:
        probe = unit.service.probe
        # Health can only be asked for, so there is no event to await.
        while unit.service.oneshot or (probe and not await probe()):  # noqa: ASYNC110
            await asyncio.sleep(self._policy.probe_interval_s)

    def _announce(self, unit: Unit, state: str, words: str) -> None:
        unit.up.set()
        self._say(f"{unit.label} {words} after {unit.age_s:.1f} s  {unit.service.address}".rstrip())
        if self._phase == "starting" and all(unit.up.is_set() for unit in self._units.values()):
            self._phase = "running"
        self._record(unit, state)

    async def _after_failure(self, unit: Unit, reason: str) -> None:
        starting = self._phase == "starting"
        delay_s = unit.count_failure(self._policy)
        limit = self._policy.start_attempts_max if starting else self._policy.restart_attempts_max
        if unit.service.oneshot or unit.failures >= limit:
            await self._give_up(unit, reason, starting=starting)
            return
        self._say(f"{unit.label} {reason}; starts again in {delay_s:.1f} s")
        self._record(unit, "restarting")
        await asyncio.sleep(delay_s)

    async def _give_up(self, unit: Unit, reason: str, *, starting: bool) -> None:
        for line in tail(unit.log, LOG_LINES_SHOWN, start=unit.log_start):
            self._say(f"  {unit.service.name} | {line}")
        what_to_do = "" if starting else "; given up, `make up` tries again"
        self._say(f"{unit.label} {reason}{what_to_do}; {unit.service.remedy}")
        self._retry.clear()
        self._record(unit, "failed")
        if starting:
            self._fail(f"{unit.service.name} {reason}; {unit.service.remedy}")
        await self._retry.wait()
        unit.failures = 0

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        self._stopping.set()

    async def _progress(self) -> None:
        while self._phase == "starting":
            await asyncio.sleep(self._policy.progress_interval_s)
            for name, unit in self._units.items():
                if unit.state == "starting" and unit.age_s > self._policy.progress_interval_s / 2:
                    behind = [k for k, it in self._units.items() if name in it.service.needs]
                    self._say(unit.progress(behind))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._policy.sweep_interval_s)
            self._kill_orphans()
            for log in (self._run_dir / "logs").glob("*.log"):
                rotate(log, self._policy.log_bytes_max)

    def _kill_orphans(self) -> None:
        # Nothing of ours detaches itself, so an adopted process is what a dead one left behind.
        kill_adopted([unit.process.pid for unit in self._units.values() if unit.process])

    async def _stop_all(self) -> None:
        for wave in stop_waves(list(self._units.values())):
            await asyncio.gather(*(self._stop(unit) for unit in wave))
        self._kill_orphans()

    async def _stop(self, unit: Unit) -> None:
        if unit.process and unit.process.poll() is None:
            self._record(unit, "stopping")
            send(unit.process.pid, unit.service.stop_signal)
            try:
                await asyncio.wait_for(ended(unit.process), unit.service.stop_timeout_s)
            except TimeoutError:
                self._say(f"{unit.label} did not stop in {unit.service.stop_timeout_s:g} s: killed")
            kill_group(unit.process.pid)
            await ended(unit.process)
        if unit.state not in ("done", "failed", "waiting"):
            self._record(unit, "stopped")
