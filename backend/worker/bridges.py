"""Which far ends are heard now, and under which epoch they obey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.logging import get_logger
from app.outbox.repo import Bridge

from .lanes import Clock, steady_clock

log = get_logger(__name__)

# A bridge reports at least once a minute.
SILENCE_MAX_S = 150.0
SOURCE_PREFIXES = {"quantconnect": "qc:"}
ROUTES = {prefix: route for route, prefix in SOURCE_PREFIXES.items()}


@dataclass(frozen=True, slots=True)
class _Known:
    bridge: Bridge
    heard_until: float


class Bridges:
    """The gate of the lanes: closed for a route's account until its bridge was heard.

    Silence is measured by the database's clock when the list is read and by this process's
    steady clock afterwards, so that an absent database closes the gate as well.
    """

    def __init__(
        self, *, clock: Clock = steady_clock, silence_max_s: float = SILENCE_MAX_S
    ) -> None:
        self._clock = clock
        self._silence_max_s = silence_max_s
        self._known: dict[str, _Known] = {}
        self._last_heard: set[str] = set()

    def update(self, bridges: Sequence[Bridge]) -> bool:
        """Take in a fresh reading; says whether a bridge came or went."""
        now = self._clock()
        self._known = {
            bridge.source: _Known(bridge, now + self._silence_max_s - bridge.silent_s)
            for bridge in bridges
        }
        heard = set(self.heard)
        came, went = heard - self._last_heard, self._last_heard - heard
        self._last_heard = heard
        for source in sorted(came):
            log.info("bridge_heard", source=source, epoch=self._known[source].bridge.epoch)
        for source in sorted(went):
            log.warning("bridge_silent", source=source, silence_max_s=self._silence_max_s)
        return bool(came or went)

    @property
    def known(self) -> list[Bridge]:
        return [known.bridge for _, known in sorted(self._known.items())]

    @property
    def heard(self) -> list[str]:
        now = self._clock()
        return sorted(source for source, known in self._known.items() if now < known.heard_until)

    @property
    def any_heard(self) -> bool:
        return bool(self.heard)

    def is_heard(self, route: str, broker_account: str) -> bool:
        """Say whether the lanes to this account are open."""
        return self._heard_bridge(source_of(route, broker_account)) is not None

    def epoch_of(self, source: str) -> int | None:
        """Name the epoch under which a bridge obeys; None while it is not heard."""
        bridge = self._heard_bridge(source)
        return None if bridge is None else bridge.epoch

    def _heard_bridge(self, source: str) -> Bridge | None:
        known = self._known.get(source)
        return known.bridge if known is not None and self._clock() < known.heard_until else None


def source_of(route: str, broker_account: str) -> str:
    """Name the far end of an account as its webhooks do."""
    return f"{SOURCE_PREFIXES.get(route, route + ':')}{broker_account}"


def account_of(source: str) -> tuple[str, str] | None:
    """Split a far end's name into route and broker account; None when no route has such names."""
    prefix, colon, broker_account = source.partition(":")
    route = ROUTES.get(prefix + colon)
    return None if route is None else (route, broker_account)
