"""How the worker's loops wait: for a bell, for a while, and longer after each failure."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .faults import log_failure

FAILURE_DELAY_MIN_S = 0.2
FAILURE_DELAY_MAX_S = 5.0


class Bell:
    """Wakes the one loop that waits for it; a ring while it works is kept for the next wait."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the waiting loop, or let its next wait end at once."""
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when rung, or when the time is over."""
        await until(self._rung, timeout_s)
        self._rung.clear()


async def until(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event at most so long; says whether it came."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


class Backoff:
    """Doubling delays with full jitter, so that many workers don't return in step."""

    def __init__(
        self, delay_min_s: float = FAILURE_DELAY_MIN_S, delay_max_s: float = FAILURE_DELAY_MAX_S
    ) -> None:
        self._delay_min_s = delay_min_s
        self._delay_max_s = delay_max_s
        self._failures = 0

    def next_s(self) -> float:
        """Say how long to wait after one more failure."""
        ceiling_s = min(self._delay_max_s, self._delay_min_s * 2 ** min(self._failures, 16))
        self._failures += 1
        # Not below the shortest delay's tenth: a loop that fails at once must not spin.
        return random.uniform(self._delay_min_s / 10, ceiling_s)  # noqa: S311 - not a secret

    def reset(self) -> None:
        """Forget the failures after a success."""
        self._failures = 0


@dataclass(frozen=True, slots=True)
class Loop:
    """A step, and how often it is taken when no bell rings; True from it means: again at once."""

    name: str
    step: Callable[[], Awaitable[bool]]
    every_s: float


async def repeat(
    loop: Loop, *, bell: Bell, over: asyncio.Event, failed: Callable[[str], None]
) -> None:
    """Run a loop until the session is over.

    Whatever a step raises ends that step only: a worker that dies of one bad row would die of it
    again after each restart, and take the other lanes with it.
    """
    backoff = Backoff()
    while not over.is_set():
        try:
            again = await loop.step()
        except Exception as error:
            failed(loop.name)
            log_failure("step_failed", error, step=loop.name)
            await until(over, backoff.next_s())
            continue
        backoff.reset()
        if not again:
            await bell.wait(loop.every_s)
