"""Who is behind a session right now, asked of the tables at most once in two seconds."""

from time import monotonic

from app.services import sp
from app.services.db import Database
from app.services.sp_rows import Caller, SessionUser

FRESH_S = 2.0
REMEMBERED_MAX = 10_000


class Sessions:
    """Remembers answers for a moment, so that a page of forty assets costs one question.

    Reads may rely on it; every write is checked by its own procedure in its own transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str], tuple[float, SessionUser | None]] = {}

    async def user_of(self, caller: Caller) -> SessionUser | None:
        """Return the user, or None when the session was revoked or the user disabled."""
        key = (str(caller.user_id), caller.session_handle)
        checked_at, user = self._known.get(key, (0.0, None))
        now = monotonic()
        if checked_at and now - checked_at < FRESH_S:
            return user
        async with self._database.transaction() as connection:
            user = await sp.session_check(connection, caller)
        self._remember(key, now, user)
        return user

    def _remember(self, key: tuple[str, str], now: float, user: SessionUser | None) -> None:
        if len(self._known) >= REMEMBERED_MAX:
            self._known = {k: v for k, v in self._known.items() if now - v[0] < FRESH_S}
        if len(self._known) < REMEMBERED_MAX:
            self._known[key] = (now, user)
