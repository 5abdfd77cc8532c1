"""What is not a browser: service tokens, the worker's token and the bridges' signature.

A service token acts for a user within its scopes and accounts. It is looked up at each request and
carried as the session handle `token:ID`, so the procedure that writes asks again, in the write's
own transaction, whether it lives and may.
"""

import hashlib
import hmac
import re
import secrets

from fastapi import Request

from app.core.errors import ServiceTokenInvalid, SignatureInvalid
from app.core.errors_tokens import CredentialsDoubled, ScopeNotAllowed
from app.core.security import PROGRAM_HANDLE, Actor
from app.core.settings import Settings
from app.services import sp_tokens
from app.services.db import Database

# Recognizable, for scanners of secrets; then 256 random bits.
PREFIX = "informania_"
TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


def new_token() -> tuple[str, bytes]:
    """Mint a service token; returns it with what is kept of it."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, _digest(token)


def _digest(token: str) -> bytes:
    # 256 random bits need no salt and no slow hash.
    return hashlib.sha256(token.encode()).digest()


def bears_token(request: Request) -> bool:
    """Say whether the request names a bearer, of whatever kind and worth."""
    return "authorization" in request.headers


def refuse_two_credentials(request: Request) -> None:
    """Refuse a request of which nobody could say in whose name it is."""
    if bears_token(request) and "cookie" in request.headers:
        raise CredentialsDoubled()


async def program(request: Request, scope: str) -> Actor:
    """Return for whom the program acts that sends this request, or refuse it."""
    refuse_two_credentials(request)
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or TOKEN.fullmatch(token) is None:
        raise ServiceTokenInvalid()
    database: Database = request.app.state.database
    async with database.transaction() as connection:
        found = await sp_tokens.token_find(connection, _digest(token))
    if found is None:
        raise ServiceTokenInvalid()
    if scope not in found.scopes:
        raise ScopeNotAllowed(f"This needs the scope {scope}.")
    return Actor(
        user_id=found.user_id,
        session_handle=f"{PROGRAM_HANDLE}{found.token_id}",
        expires_at=found.expires_at,
    )


def bears_worker_token(request: Request) -> bool:
    """Say whether the request carries the worker's token; takes the same time for any guess."""
    settings: Settings = request.app.state.settings
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    wanted = settings.secret("worker_token")
    same = hmac.compare_digest(given.strip().encode(), wanted.encode())
    return same and scheme.lower() == "bearer"


async def worker_only(request: Request) -> None:
    """Let only our own processes in."""
    if not bears_worker_token(request):
        raise ServiceTokenInvalid()


def check_signature(settings: Settings, *, body: bytes, signature: str) -> None:
    """Refuse a body that was not signed with the webhook secret."""
    wanted = hmac.new(settings.secret("webhook_hmac").encode(), body, hashlib.sha256).hexdigest()
    given = signature.strip().lower().encode("ascii", "replace")
    if not hmac.compare_digest(given, wanted.encode()):
        raise SignatureInvalid()
