"""The short-lived tokens by which the database believes whose rows are read; one a session.

The API signs them for a live session only. They are held here until a minute before their end, and
only as long as the session's pass is in the vault: with the pass gone nothing is read any more.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

from gate.vault import get_vault
from services import api_client
from services.models import User

RENEW_BEFORE = timedelta(seconds=60)


class SessionOver(Exception):
    """There is no session any more that could read."""


class NoToken(Exception):
    """The API gave no token now."""


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    good_until: datetime


_held: dict[str, _Held] = {}
_lock = Lock()


def require_session(user: User) -> None:
    """Refuse whoever is not the user of a session that is connected now."""
    held = get_vault().get(user.session_handle)
    if held is None or (held.identity.user_id, held.identity.role) != (user.user_id, user.role):
        raise SessionOver()


def token_for(user: User) -> str:
    """Return a token with which this user's rows can be read."""
    require_session(user)
    with _lock:
        held = _held.get(user.session_handle)
    if held is not None and held.good_until > datetime.now(UTC):
        return held.token
    return _fetch(user)


def renew(user: User, *, instead_of: str) -> str:
    """Return another token than one that the database did not believe."""
    require_session(user)
    with _lock:
        held = _held.get(user.session_handle)
        if held is not None and held.token == instead_of:
            del _held[user.session_handle]
    return token_for(user)


def _fetch(user: User) -> str:
    try:
        token, expires_at = api_client.db_token(user)
    except api_client.ApiProblem as problem:
        if problem.status == api_client.UNAUTHORIZED:
            raise SessionOver() from problem
        raise NoToken(problem.code) from problem
    except api_client.ApiDown as error:
        raise NoToken("the API gave no token") from error
    with _lock:
        for handle in [handle for handle in _held if get_vault().get(handle) is None]:
            del _held[handle]
        _held[user.session_handle] = _Held(token, expires_at - RENEW_BEFORE)
    return token
