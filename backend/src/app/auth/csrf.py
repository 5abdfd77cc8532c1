"""Whether a request comes from our own pages, decided before anybody looks at a session.

A page of another site can make a browser send our cookies, but it can neither add the header `rid`
nor forge `Origin`. Everything that may change something needs both; the sign-in pages also serve
programs, which send no Origin. No page of another site can add `Authorization` either, so a program
that comes with it and without any cookie needs neither.
"""

from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from app.core.errors import CsrfRejected
from app.core.security import SAFE_METHODS

AUTH_PREFIX = "/auth"
# They carry no cookie: a signature or a service token speaks for them.
EXEMPT_PREFIXES = ("/api/webhooks/", "/api/internal/")


def under(path: str, prefix: str) -> bool:
    """Say whether a path is the prefix or below it."""
    return path == prefix or path.startswith(f"{prefix}/")


def check_origin(scope: Scope, public_url: str) -> None:
    """Refuse what another site may have sent."""
    path, method = scope["path"], scope["method"]
    if path.startswith(EXEMPT_PREFIXES):
        return
    headers = Headers(scope=scope)
    if "authorization" in headers and "cookie" not in headers and not under(path, AUTH_PREFIX):
        return
    origins = set(headers.getlist("origin"))
    safe = method in SAFE_METHODS
    if under(path, AUTH_PREFIX):
        _refuse_unless(origins <= {public_url})
        _refuse_unless(safe or bool(headers.get("rid")))
    elif not safe:
        ours = origins == {public_url} and bool(headers.get("rid"))
        # What no route does is answered 405 whoever asks, and changes nothing.
        _refuse_unless(ours or _is_method_unknown(scope))


def _is_method_unknown(scope: Scope) -> bool:
    """Say whether the path is served, but not by this method."""
    routes = scope["app"].routes if "app" in scope else []
    matches = {route.matches(scope)[0] for route in routes}
    return Match.PARTIAL in matches and Match.FULL not in matches


def _refuse_unless(fine: bool) -> None:
    if not fine:
        raise CsrfRejected()
