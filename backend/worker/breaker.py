"""Leaves a route alone for a while when attempt after attempt fails on it."""

from __future__ import annotations

from collections.abc import Callable

from app.core.logging import get_logger
from app.services.broker import OutcomeKind

from .lanes import Clock, steady_clock
from .waiting import Backoff

log = get_logger(__name__)

FAILURES_MAX = 5
PAUSE_MIN_S = 1.0
PAUSE_MAX_S = 30.0
FAILED = (OutcomeKind.NOT_SENT, OutcomeKind.UNKNOWN)
ANSWERED = (OutcomeKind.ACCEPTED, OutcomeKind.DEFINITE_REJECT)


class Breaker:
    """The circuit of one route: closed, open until a moment, then one probe decides.

    Without it a route that is down would be tried by every lane with a time-out each, while what
    matters, cancels and questions after it is back, waits behind them. A refused credential opens
    it at once: trying on locks accounts out.
    """

    def __init__(
        self, route: str, *, on_change: Callable[[bool], None], clock: Clock = steady_clock
    ) -> None:
        self._route = route
        self._on_change = on_change
        self._clock = clock
        self._backoff = Backoff(PAUSE_MIN_S, PAUSE_MAX_S)
        self._failures = 0
        self._open_until: float | None = None
        self._probe_until = -float("inf")

    @property
    def wait_s(self) -> float:
        """Say how long the route is still left alone."""
        return max(0.0, (self._open_until or 0.0) - self._clock())

    def allows(self, probe_s: float) -> bool:
        """Say whether an attempt may go out; an open circuit lets one through every `probe_s`."""
        if self._open_until is None:
            return True
        now = self._clock()
        if now < max(self._open_until, self._probe_until):
            return False
        self._probe_until = now + probe_s
        return True

    def note(self, outcome: OutcomeKind) -> None:
        """Take in how an attempt ended."""
        if outcome in ANSWERED:
            self._close()
        elif outcome is OutcomeKind.AUTH or outcome in FAILED:
            self._failures += 1
            probed = self._open_until is not None
            if probed or outcome is OutcomeKind.AUTH or self._failures >= FAILURES_MAX:
                self._open(outcome)

    def _open(self, outcome: OutcomeKind) -> None:
        pause_s = self._backoff.next_s()
        if self._open_until is None:
            log.error("route_left_alone", route=self._route, outcome=outcome.value)
            self._on_change(True)
        self._open_until = self._clock() + pause_s
        self._probe_until = -float("inf")

    def _close(self) -> None:
        self._failures = 0
        self._backoff.reset()
        if self._open_until is not None:
            log.info("route_tried_again", route=self._route)
            self._open_until = None
            self._on_change(False)
