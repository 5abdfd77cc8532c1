"""Answers kept for a moment, so that many panels and tabs of one user ask the database once."""

from collections.abc import Callable, Hashable
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

Value = TypeVar("Value")

ENTRIES_MAX = 2000


class TtlCache(Generic[Value]):
    """Values by key, for a number of seconds; safe among threads, bounded, keeps no failure."""

    def __init__(
        self, entries_max: int = ENTRIES_MAX, clock: Callable[[], float] = monotonic
    ) -> None:
        self._entries_max = entries_max
        self._clock = clock
        self._entries: dict[Hashable, tuple[float, Value]] = {}
        self._lock = Lock()

    def get(self, key: Hashable, ttl_s: float, read: Callable[[], Value]) -> Value:
        """Return what is kept under a key, else what `read` returns now."""
        # The age counts from before the read: what is shown is never older than it may be.
        now = self._clock()
        with self._lock:
            found = self._entries.get(key)
        if found is not None and now < found[0]:
            return found[1]
        value = read()
        with self._lock:
            self._make_room(now)
            self._entries[key] = (now + ttl_s, value)
        return value

    def _make_room(self, now: float) -> None:
        if len(self._entries) < self._entries_max:
            return
        self._entries = {key: entry for key, entry in self._entries.items() if now < entry[0]}
        if len(self._entries) >= self._entries_max:
            self._entries.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
