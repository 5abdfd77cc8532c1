"""What the supervisor must know of one process."""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process of the platform; a one-shot must end with 0 before its dependents start."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    oneshot: bool = False
    probe: Probe | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10
    # A one-shot may take this long; any other service must be healthy by then.
    ready_timeout_s: float = 60
    # Shown while people wait, and when it fails.
    note: str = ""
    remedy: str = "read its log"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How patient the supervisor is."""

    probe_interval_s: float = 0.1
    watch_interval_s: float = 5
    misses_max: int = 3
    # Failures in a row without having been healthy, before and after the platform was up.
    start_attempts_max: int = 3
    restart_attempts_max: int = 10
    backoff_base_s: float = 0.25
    backoff_max_s: float = 10
    # What had been healthy is needed: it comes back soon, even when it falls again and again.
    backoff_healthy_max_s: float = 1
    stable_s: float = 10
    progress_interval_s: float = 10
    sweep_interval_s: float = 2
    log_bytes_max: int = 20_000_000
