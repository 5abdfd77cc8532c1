"""What the API says of sessions: the one authority the gate believes.

A token is shown to the API, which verifies its signature and looks whether the session lives; the
watcher asks after many sessions at once. Whatever is not a clear answer counts as
none.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import uuid4

import httpx
from gate.identity import ACCESS_COOKIE, Identity, identity_of
from gate.vault import Pass
from services.wire import forgetful_jar

SESSIONS_MAX = 250
TIMEOUT = httpx.Timeout(2.0, pool=1.0)
LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=5)
# What may stand in a cookie's value; anything else would be a way to write other headers.
COOKIE_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")


class ApiUnreachable(Exception):
    """The API gave no clear answer."""


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a session is now."""

    active: bool
    role: str | None

    def confirms(self, identity: Identity) -> bool:
        """Say whether the session lives and its user still has this role."""
        return self.active and self.role == identity.role


OVER = SessionState(active=False, role=None)

# A handle alone says nothing of its user, so both are asked after together.
Key = tuple[str, str]


def key_of(identity: Identity) -> Key:
    """Return what a session is asked after by."""
    return identity.session_handle, identity.user_id


class Sessions:
    """Asks the API, on its private address."""

    def __init__(self, api_url: str, worker_token: str) -> None:
        self._worker_token = worker_token
        # No proxy of the environment may come between: the tokens of all users pass here.
        self._client = httpx.AsyncClient(
            base_url=api_url,
            timeout=TIMEOUT,
            limits=LIMITS,
            trust_env=False,
            cookies=forgetful_jar(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def verify(self, token: str) -> Pass | None:
        """Return the session that a token proves; None when the API refuses it."""
        if not COOKIE_VALUE.fullmatch(token):
            return None
        answer = await self._ask("GET", "/api/session", {"Cookie": f"{ACCESS_COOKIE}={token}"})
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return None
        return _pass(_body(answer), token)

    async def check(self, identities: Iterable[Identity]) -> dict[Key, SessionState]:
        """Return what each of these sessions is; one the API says nothing of is over."""
        keys = list(dict.fromkeys(key_of(identity) for identity in identities))
        states: dict[Key, SessionState] = {}
        for start in range(0, len(keys), SESSIONS_MAX):
            states |= await self._check(keys[start : start + SESSIONS_MAX])
        return {key: states.get(key, OVER) for key in keys}

    async def _check(self, keys: Sequence[Key]) -> dict[Key, SessionState]:
        headers = {"Authorization": f"Bearer {self._worker_token}"}
        asked = {"sessions": [{"handle": handle, "user_id": user_id} for handle, user_id in keys]}
        answer = await self._ask("POST", "/api/internal/sessions/check", headers, asked)
        try:
            return {
                (row["handle"], row["user_id"]): SessionState(row["active"] is True, row["role"])
                for row in _body(answer)["sessions"]
            }
        except (KeyError, TypeError) as error:
            raise ApiUnreachable("The answer about sessions is not readable.") from error

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: object = None
    ) -> httpx.Response:
        headers = {**headers, "X-Request-Id": uuid4().hex}
        try:
            return await self._client.request(method, path, headers=headers, json=body)
        except httpx.HTTPError as error:
            raise ApiUnreachable(f"{type(error).__name__} at {path}") from error


def _body(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code != httpx.codes.OK:
        raise ApiUnreachable(f"{answer.request.url.path} answered {answer.status_code}")
    try:
        body: dict[str, Any] = answer.json()
    except ValueError as error:
        raise ApiUnreachable(f"{answer.request.url.path} answered no JSON") from error
    return body


def _pass(body: dict[str, Any], token: str) -> Pass:
    try:
        identity = identity_of(body)
        expires_at = datetime.fromisoformat(body["expires_at"])
        email = str(body["email"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ApiUnreachable("The answer about a session is not readable.") from error
    if identity is None or expires_at.tzinfo is None:
        raise ApiUnreachable("The answer about a session is not readable.")
    return Pass(identity, email, expires_at, token)
