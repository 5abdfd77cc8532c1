"""What is not a browser: the worker's token and the bridges' signature."""

import hashlib
import hmac

from fastapi import Request

from app.core.errors import ServiceTokenInvalid, SignatureInvalid
from app.core.settings import Settings


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
