"""The second door: an ASGI middleware that lets nothing through on the word of the proxy alone.

Every request and every websocket needs the proxy's secret, a well-formed identity, and an access
token that the API itself confirms for that identity. Websockets and whatever may change something
also need our own Origin. Only Streamlit's bundle, which holds no data, and its health are open.
"""

from hashlib import sha256
from http import HTTPStatus
from time import monotonic

from gate.identity import (
    HEADERS,
    Identity,
    access_token,
    from_the_proxy,
    stated_identity,
    without_secrets,
)
from gate.sessions import ApiUnreachable, Sessions, key_of
from gate.sockets import Socket, Sockets, TooManySockets
from gate.vault import Pass, Vault
from services.logs import get_logger
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

log = get_logger(__name__)

HEALTH_PATH = "/_stcore/health"
STREAM_PATH = "/_stcore/stream"
RENEW_PATH = "/session/renew"
OPEN_PATHS = (HEALTH_PATH, "/favicon.png")
OPEN_PREFIX = "/static/"
# Streamlit answers these to anybody; nobody of ours asks.
CLOSED_PREFIXES = ("/_stcore/metrics", "/_stcore/agent", "/_stcore/script-health-check")
SAFE_METHODS = ("GET", "HEAD")
# How long a confirmed token passes for further requests of the same page load.
CONFIRMED_S = 1.0
CONFIRMED_MAX = 2000
PROBLEMS = {
    HTTPStatus.UNAUTHORIZED: ("session_required", "There is no session in this request."),
    HTTPStatus.FORBIDDEN: ("csrf_rejected", "This request does not come from our own pages."),
    HTTPStatus.NOT_FOUND: ("not_found", "There is nothing here."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("service_unavailable", "Try again in a moment."),
}


class Refused(Exception):
    """The request does not pass."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class SessionGate:
    """Wraps Streamlit; fails closed."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        sessions: Sessions,
        sockets: Sockets,
        vault: Vault,
        proxy_secret: str,
        public_url: str,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._sockets = sockets
        self._vault = vault
        self._proxy_secret = proxy_secret
        self._public_url = public_url
        self._confirmed: dict[bytes, tuple[float, Pass]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            if scope["type"] == "websocket":
                await self._serve_socket(scope, receive, send)
            else:
                await self._serve_request(scope, receive, send)
        except Refused as refused:
            await _refuse(refused.status, scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path.startswith(CLOSED_PREFIXES):
            raise Refused(HTTPStatus.NOT_FOUND)
        if _is_open(path) and method in SAFE_METHODS:
            await self._app(_anonymous(scope), receive, send)
            return
        identity = self._stated(scope)
        if method not in SAFE_METHODS:
            self._require_our_origin(scope)
        held = await self._confirm(scope, identity, fresh=path == RENEW_PATH)
        if path == RENEW_PATH:
            await self._renew(held, scope, receive, send)
            return
        await self._app({**scope, "headers": without_secrets(scope["headers"])}, receive, send)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != STREAM_PATH:
            raise Refused(HTTPStatus.NOT_FOUND)
        identity = self._stated(scope)
        self._require_our_origin(scope)
        held = await self._confirm(scope, identity, fresh=True)
        socket = Socket(identity, receive, send)
        try:
            self._sockets.add(socket)
        except TooManySockets as error:
            log.warning("too_many_sockets", extra={"user_id": identity.user_id})
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE) from error
        self._vault.put(held)
        try:
            scope = {**scope, "headers": without_secrets(scope["headers"])}
            await self._app(scope, socket.receive, socket.send)
        finally:
            self._sockets.remove(socket)
            if not self._sockets.connected(identity.session_handle):
                self._vault.forget(identity.session_handle)
            await socket.part()

    async def _renew(self, held: Pass, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the token of a refreshed session over, for the sockets that are open."""
        request = Request(scope)
        if request.method != "POST":
            raise Refused(HTTPStatus.NOT_FOUND)
        if not request.headers.get("rid"):
            raise Refused(HTTPStatus.FORBIDDEN)
        if self._sockets.connected(held.identity.session_handle):
            self._vault.put(held)
        answer = JSONResponse({"expires_at": held.expires_at.isoformat()}, headers=_NO_STORE)
        await answer(scope, receive, send)

    def _stated(self, scope: Scope) -> Identity:
        headers = scope["headers"]
        identity = stated_identity(headers)
        if identity is None or not from_the_proxy(headers, self._proxy_secret):
            raise Refused(HTTPStatus.UNAUTHORIZED)
        return identity

    def _require_our_origin(self, scope: Scope) -> None:
        if Headers(scope=scope).getlist("origin") != [self._public_url]:
            raise Refused(HTTPStatus.FORBIDDEN)

    async def _confirm(self, scope: Scope, identity: Identity, *, fresh: bool) -> Pass:
        """Return the pass that the API confirms for the identity that the proxy states."""
        token = access_token(scope["headers"])
        if token is None:
            raise Refused(HTTPStatus.UNAUTHORIZED)
        try:
            held = await self._verified(token, fresh=fresh)
        except ApiUnreachable as error:
            log.warning("session_unconfirmed", extra={"reason": str(error)})
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE) from error
        if held is None or held.identity != identity:
            raise Refused(HTTPStatus.UNAUTHORIZED)
        return held

    async def _verified(self, token: str, *, fresh: bool) -> Pass | None:
        key, now = sha256(token.encode()).digest(), monotonic()
        confirmed_at, held = self._confirmed.get(key, (0.0, None))
        if held is not None and not fresh and now - confirmed_at < CONFIRMED_S:
            return held
        self._confirmed.pop(key, None)
        held = await self._sessions.verify(token)
        if held is None or (fresh and not await self._lives(held.identity)):
            return None
        self._remember(key, now, held)
        return held

    async def _lives(self, identity: Identity) -> bool:
        # Of a token the API may speak from memory for two seconds; of this it never does.
        states = await self._sessions.check([identity])
        return states[key_of(identity)].confirms(identity)

    def _remember(self, key: bytes, now: float, held: Pass) -> None:
        if len(self._confirmed) >= CONFIRMED_MAX:
            fresh = {k: v for k, v in self._confirmed.items() if now - v[0] < CONFIRMED_S}
            self._confirmed = fresh if len(fresh) < CONFIRMED_MAX else {}
        self._confirmed[key] = (now, held)


_NO_STORE = {"Cache-Control": "no-store"}


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def _anonymous(scope: Scope) -> Scope:
    stated = {name.lower().encode() for name in HEADERS}
    headers = [pair for pair in without_secrets(scope["headers"]) if pair[0] not in stated]
    return {**scope, "headers": headers}


async def _refuse(status: HTTPStatus, scope: Scope, receive: Receive, send: Send) -> None:
    code, title = PROBLEMS[status]
    problem = {
        "type": f"urn:informania:problem:{code}",
        "title": title,
        "status": int(status),
        "code": code,
    }
    answer = JSONResponse(problem, status, headers=_NO_STORE, media_type="application/problem+json")
    if scope["type"] == "websocket":
        await _refuse_handshake(answer, scope, receive, send)
    else:
        await answer(scope, receive, send)


async def _refuse_handshake(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a handshake with the same words; a server that cannot do so closes it."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4401})
        return
    prefix = "websocket."
    await send(
        {
            "type": f"{prefix}http.response.start",
            "status": answer.status_code,
            "headers": answer.raw_headers,
        }
    )
    await send({"type": f"{prefix}http.response.body", "body": bytes(answer.body)})
