"""Who a request says it comes from: what the proxy's gate stated, taken literally or not at all."""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import cookie_parser

ACCESS_COOKIE = "sAccessToken"
PROXY_SECRET_HEADER = b"x-proxy-secret"
# Written by the proxy after it asked the API; the names Streamlit's `trustedUserHeaders` maps.
HEADERS = {
    "X-User-Id": "user_id",
    "X-User-Role": "role",
    "X-Session-Handle": "session_handle",
}
ROLES = ("viewer", "trader", "admin")
USER_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HANDLE = re.compile(r"[A-Za-z0-9_-]{1,128}")
TOKEN_LENGTH_MAX = 8192

RawHeaders = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, in one of his sessions, with the role he has there."""

    user_id: str
    role: str
    session_handle: str


def identity_of(fields: Mapping[str, object]) -> Identity | None:
    """Return the identity that some fields state when each of them is well formed."""
    user_id, role, handle = (fields.get(name) for name in HEADERS.values())
    if not (isinstance(user_id, str) and isinstance(role, str) and isinstance(handle, str)):
        return None
    fits = USER_ID.fullmatch(user_id) and role in ROLES and HANDLE.fullmatch(handle)
    return Identity(user_id, role, handle) if fits else None


def stated_identity(headers: RawHeaders) -> Identity | None:
    """Return the identity in the headers; one that is stated twice is not believed."""
    headers = list(headers)
    return identity_of({field: _only(headers, name) for name, field in HEADERS.items()})


def from_the_proxy(headers: RawHeaders, secret: str) -> bool:
    """Say whether the request carries the secret that only the proxy and we know."""
    given = [value for name, value in headers if name == PROXY_SECRET_HEADER]
    # Compared in constant time, so that the time taken tells nothing of the secret.
    return len(given) == 1 and bool(secret) and hmac.compare_digest(given[0], secret.encode())


def access_token(headers: RawHeaders) -> str | None:
    """Return the access token in the cookies."""
    cookies = "; ".join(value.decode("latin-1") for name, value in headers if name == b"cookie")
    token = unquote(cookie_parser(cookies).get(ACCESS_COOKIE, ""))
    fits = token.isascii() and token.isprintable() and len(token) <= TOKEN_LENGTH_MAX
    return token if token and fits else None


def without_secrets(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the headers as pages may see them: without our secret and without the token."""
    return [
        (name, _without_token(value) if name == b"cookie" else value)
        for name, value in headers
        if name != PROXY_SECRET_HEADER
    ]


def _without_token(cookies: bytes) -> bytes:
    pairs = (pair.strip() for pair in cookies.split(b";"))
    ours = ACCESS_COOKIE.encode()
    return b"; ".join(pair for pair in pairs if pair.partition(b"=")[0].strip() != ours)


def _only(headers: RawHeaders, name: str) -> str | None:
    wanted = name.lower().encode()
    values = [value for key, value in headers if key == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else None
