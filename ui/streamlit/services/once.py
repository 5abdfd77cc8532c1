"""One object a process, made when it is first needed, by whichever thread needs it."""

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Once(Generic[Made]):
    """Makes the object once, also when many threads come first at the same time."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: list[Made] = []
        self._lock = Lock()

    def __call__(self) -> Made:
        """Return the object."""
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]

    def take(self) -> Made | None:
        """Give the object away, if there is one; the next caller gets another."""
        with self._lock:
            return self._made.pop() if self._made else None
