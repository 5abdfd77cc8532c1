"""Looks after the connected sessions: one that is over, or is not confirmed, loses its sockets."""

import asyncio
from collections.abc import Callable
from time import monotonic

from gate.sessions import ApiUnreachable, Key, Sessions, SessionState, key_of
from gate.sockets import End, Socket, Sockets
from gate.vault import Vault
from services.logs import get_logger

log = get_logger(__name__)

CHECK_INTERVAL_S = 2.0
# Without a word of the API for this long nobody stays connected.
UNCONFIRMED_MAX_S = 10.0


class Watcher:
    """The one of this process."""

    def __init__(
        self,
        sessions: Sessions,
        sockets: Sockets,
        vault: Vault,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._sessions = sessions
        self._sockets = sockets
        self._vault = vault
        self._clock = clock
        self._confirmed_at = clock()

    async def run(self) -> None:
        """Check again and again until canceled."""
        while True:
            started = self._clock()
            try:
                await self.check_once()
            except Exception:
                # A fault of ours must not leave doors open either.
                log.exception("watcher_failed")
                self._end_unconfirmed()
            await asyncio.sleep(max(0.0, started + CHECK_INTERVAL_S - self._clock()))

    async def check_once(self) -> None:
        """Ask after all connected sessions and end the sockets of those that are over."""
        asked_at = self._clock()
        identities = [socket.identity for socket in self._sockets]
        try:
            states = await self._sessions.check(identities)
        except ApiUnreachable as error:
            log.warning("sessions_unconfirmed", extra={"reason": str(error)})
            self._end_unconfirmed()
        else:
            self._confirmed_at = asked_at
            self._apply(states)
        self._end_expired()

    def _apply(self, states: dict[Key, SessionState]) -> None:
        for socket in self._sockets:
            state = states.get(key_of(socket.identity))
            # A socket that opened meanwhile was confirmed on its own.
            if state is not None and not state.confirms(socket.identity):
                self._end(socket, End.REVOKED)

    def _end_unconfirmed(self) -> None:
        if self._clock() - self._confirmed_at > UNCONFIRMED_MAX_S:
            for socket in self._sockets:
                self._end(socket, End.UNCONFIRMED)

    def _end_expired(self) -> None:
        for socket in self._sockets:
            if self._vault.get(socket.identity.session_handle) is None:
                self._end(socket, End.EXPIRED)

    def _end(self, socket: Socket, why: End) -> None:
        # Without its pass a script that still runs can neither read nor act.
        self._vault.forget(socket.identity.session_handle)
        socket.end(why)
