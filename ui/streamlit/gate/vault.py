"""The access tokens of the users who are connected, in the memory of this process alone.

Pages act for a user only with his own token. It comes with the handshake of his websocket or by
`POST /session/renew`, never reaches a page's script, and goes when his last socket closes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

from gate.identity import Identity
from services.once import Once


@dataclass(frozen=True, slots=True)
class Pass:
    """A session as the API confirmed it, with the token that proves it."""

    identity: Identity
    email: str
    expires_at: datetime
    token: str = field(repr=False)


class Vault:
    """Passes by session handle; used by the event loop and by the threads of scripts."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._passes: dict[str, Pass] = {}
        self._lock = Lock()

    def put(self, held: Pass) -> None:
        """Keep a pass; one that ends sooner than the same user's we have changes nothing."""
        handle = held.identity.session_handle
        with self._lock:
            before = self._passes.get(handle)
            same = before is not None and before.identity == held.identity
            if before is None or not same or before.expires_at <= held.expires_at:
                self._passes[handle] = held

    def get(self, handle: str) -> Pass | None:
        """Return the pass of a session unless it is over."""
        with self._lock:
            held = self._passes.get(handle)
        return held if held is not None and held.expires_at > self._now() else None

    def forget(self, handle: str) -> None:
        """Drop the pass of a session."""
        with self._lock:
            self._passes.pop(handle, None)

    def __len__(self) -> int:
        """Count the sessions that are held."""
        with self._lock:
            return len(self._passes)


# The vault of this process.
get_vault = Once(Vault)
