"""One service of a running platform, and how it fares."""

import asyncio
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from native.log_files import rotate
from native.spec import Policy, Service

LABEL_WIDTH = 11


@dataclass
class Unit:
    """What the supervisor remembers of one service."""

    service: Service
    log: Path
    state: str = "waiting"
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    log_start: int = 0
    restarts: int = 0
    # Ends in a row without having been healthy, and soon after having been healthy.
    failures: int = 0
    flaps: int = 0
    up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def label(self) -> str:
        """The name, as wide as all others."""
        return f"{self.service.name:<{LABEL_WIDTH}}"

    @property
    def age_s(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self.started_at

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def open_log(self, bytes_max: int) -> None:
        """Begin a new start: remember when, and where in the log it begins."""
        rotate(self.log, bytes_max)
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        self.started_at = time.monotonic()

    def count_failure(self, policy: Policy) -> float:
        """Count an end that nobody asked for; return how long to wait before the next start."""
        was_healthy = self.up.is_set()
        self.up.clear()
        self.restarts += 1
        self.failures = 0 if was_healthy else self.failures + 1
        stable = was_healthy and self.age_s > policy.stable_s
        self.flaps = 0 if stable else self.flaps + 1
        max_s = policy.backoff_healthy_max_s if was_healthy else policy.backoff_max_s
        return float(min(policy.backoff_base_s * 2 ** min(self.flaps, 16), max_s))

    def facts(self) -> dict[str, Any]:
        """Return what the state file and `make status` say of it."""
        return {
            "state": self.state,
            "pid": self.process.pid if self.process and self.alive else None,
            "restarts": self.restarts,
            "ports": dict(self.service.ports),
            "address": self.service.address,
            "oneshot": self.service.oneshot,
        }

    def progress(self, behind: Sequence[str]) -> str:
        """Say how long it has been starting, and who waits for it."""
        note = f" ({self.service.note})" if self.service.note else ""
        waiting = f"; {', '.join(behind)} must wait for it" if behind else ""
        return f"{self.label} is at it for {self.age_s:.0f} s{note}{waiting}"


def stop_waves(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """Yield what may stop at the same time: those that nothing left needs."""
    left = {unit.service.name: unit for unit in units}
    while left:
        needed = {need for unit in left.values() for need in unit.service.needs}
        # Needs that form a ring are a mistake, but all must stop even then.
        wave = [it for name, it in left.items() if name not in needed] or list(left.values())
        yield wave
        for unit in wave:
            del left[unit.service.name]
