"""Who sends a request: the session's access token, verified on this machine.

`get_session` and not the SDK's `verify_session` dependency: that one keeps a single context for all
requests at once, so code that awaits inside it may see another user's request. The signing keys
are in memory, so an ordinary request asks neither the core nor the database. Only the first use
of a refreshed token does: the core has to learn that the token arrived. A token that was verified
is known from then on: verifying the same bytes again could only tell whether they have expired.
Whether its session still lives is never asked of a token, but of the tables.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote
from uuid import UUID

import jwt
from fastapi import Request
from supertokens_python.exceptions import SuperTokensError
from supertokens_python.recipe.session import SessionContainer
from supertokens_python.recipe.session.asyncio import get_session
from supertokens_python.recipe.session.exceptions import TryRefreshTokenError
from supertokens_python.recipe.session.recipe import SessionRecipe

from app.core.errors import AppError, NotSignedIn

ACCESS_COOKIE = "sAccessToken"
# A session handle that stands for a service token; no session of a person begins so.
PROGRAM_HANDLE = "token:"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
# Keys that rotate sign sessions; the core's static keys sign other things, never a session.
SESSION_KEY_PREFIX = "d-"


class SessionRequired(NotSignedIn):
    """There is no session in this request."""

    code = "session_required"
    remedy = "Sign in, then repeat the request."


class SessionExpired(NotSignedIn):
    """The session's access token is no longer valid."""

    code = "session_expired"
    remedy = "Refresh the session once, then repeat the request; if that fails, sign in."


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and in which session; what he may do is asked of the tables."""

    user_id: UUID
    session_handle: str
    expires_at: datetime
    role: str | None = None
    email: str | None = None


class VerifiedTokens:
    """The access tokens that were verified last, and whose they are until they expire."""

    def __init__(self, kept_max: int = 4096) -> None:
        self._kept_max = kept_max
        self._actors: OrderedDict[str, Actor] = OrderedDict()

    def actor_of(self, token: str, now: datetime) -> Actor | None:
        """Return who sent this very token before, unless it has expired since."""
        actor = self._actors.get(token)
        if actor is None or actor.expires_at <= now:
            return None
        self._actors.move_to_end(token)
        return actor

    def keep(self, token: str, actor: Actor) -> None:
        """Remember a token that was verified; the one used longest ago makes room for it."""
        self._actors[token] = actor
        self._actors.move_to_end(token)
        if len(self._actors) > self._kept_max:
            self._actors.popitem(last=False)


async def current_actor(request: Request) -> Actor:
    """Return who sends this request, or refuse it with 401."""
    verified: VerifiedTokens = request.app.state.verified_tokens
    actor = verified.actor_of(request.cookies.get(ACCESS_COOKIE, ""), datetime.now(UTC))
    if actor is not None:
        return actor
    token = _session_token_of(request)
    session = await _verified_session(request)
    actor = _actor_of(session)
    # The answer to this request carries another token, which is the one to come back.
    if not session.access_token_updated:
        verified.keep(token, actor)
    return actor


async def _verified_session(request: Request) -> SessionContainer:
    try:
        session = await get_session(
            request,
            session_required=True,
            anti_csrf_check=request.method not in SAFE_METHODS,
            override_global_claim_validators=lambda *_: [],
        )
    except TryRefreshTokenError as error:
        # The SDK wraps everything that goes wrong while it verifies, our own 503 too.
        cause = error.args[0] if error.args else None
        raise cause if isinstance(cause, AppError) else SessionExpired() from error
    except SuperTokensError as error:
        raise SessionRequired() from error
    if session is None:
        raise SessionRequired()
    return session


def session_key_of(token: str) -> str | None:
    """Return the name of the key that a session's token claims to be signed with."""
    try:
        key_id = jwt.get_unverified_header(unquote(token)).get("kid")
    except (jwt.PyJWTError, ValueError):
        return None
    return key_id if isinstance(key_id, str) else None


def _session_token_of(request: Request) -> str:
    token = request.cookies.get(ACCESS_COOKIE)
    if not token:
        raise SessionRequired()
    try:
        header = jwt.get_unverified_header(unquote(token))
    except (jwt.PyJWTError, ValueError) as error:
        raise SessionRequired() from error
    key_id = header.get("kid")
    signed_by_us = isinstance(key_id, str) and key_id.startswith(SESSION_KEY_PREFIX)
    if header.get("alg") != "RS256" or not signed_by_us:
        raise SessionRequired()
    return token


def _actor_of(session: SessionContainer) -> Actor:
    claims = session.get_access_token_payload()
    if claims.get("iss") != _issuer() or session.get_tenant_id() != "public":
        raise SessionRequired()
    if session.get_handle().startswith(PROGRAM_HANDLE):
        raise SessionRequired()
    try:
        user_id = UUID(session.get_user_id())
    except ValueError as error:
        raise SessionRequired() from error
    return Actor(
        user_id=user_id,
        session_handle=session.get_handle(),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _issuer() -> str:
    app_info = SessionRecipe.get_instance().app_info
    parts = (app_info.api_domain, app_info.api_base_path)
    return "".join(str(part.get_as_string_dangerous()) for part in parts)
