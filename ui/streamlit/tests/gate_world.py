"""A session gate on a real server, between real clients and a stand-in of the API."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from gate.identity import Identity
from gate.session_gate import SessionGate
from gate.sessions import Sessions
from gate.sockets import Sockets
from gate.vault import Vault
from gate.watcher import Watcher
from read_tokens import sign
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect

PUBLIC_URL = "http://screen.test"
PROXY_SECRET = "the-proxy-and-the-gate-know-it"
WORKER_TOKEN = "the-watcher-knows-it"


async def until(seen: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait until something is so; fail when it takes too long."""
    async with asyncio.timeout(timeout_s):
        while True:
            if seen():
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve an application on a free port."""
    # Its own configuration of logs would change the loggers of every test after this one.
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@dataclass
class Login:
    """One session as the API knows it."""

    identity: Identity
    token: str = field(default_factory=lambda: secrets.token_urlsafe(40))
    active: bool = True
    role_now: str = ""
    expires_at: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(hours=1))

    def said(self) -> dict[str, Any]:
        """What the API answers about it."""
        role = self.role_now or self.identity.role
        return {
            "user_id": self.identity.user_id,
            "email": "somebody@test.informania.dev",
            "role": role,
            "session_handle": self.identity.session_handle,
            "expires_at": self.expires_at.isoformat().replace("+00:00", "Z"),
        }


class ApiStandIn:
    """Answers as the API does, about the logins it is given."""

    def __init__(self) -> None:
        self.logins: dict[str, Login] = {}
        self.down = False
        # As the API does for two seconds.
        self.remembers = False
        self.asked: list[Request] = []
        self.bodies: list[bytes] = []
        self.answers: dict[str, Response] = {}
        self.db_token_key = ""
        self.db_token_valid_s = 300.0

    def login(self, role: str = "trader", **changes: Any) -> Login:
        """Sign somebody in."""
        identity = Identity(changes.pop("user_id", str(uuid4())), role, str(uuid4()))
        login = Login(identity, **changes)
        self.logins[login.token] = login
        return login

    @property
    def app(self) -> Starlette:
        """The application to serve."""
        methods = ["GET", "POST", "PUT", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=methods)])

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request)
        self.bodies.append(body := await request.body())
        if self.down:
            return Response(status_code=500)
        path = request.url.path
        if path in self.answers:
            return self.answers[path]
        if path == "/api/internal/sessions/check":
            return self._check(request, json.loads(body))
        login = self.logins.get(request.cookies.get("sAccessToken", ""))
        if login is None or not (login.active or self.remembers):
            return JSONResponse({"code": "session_required", "title": "No session"}, 401)
        if path == "/api/session/db-token":
            return self._db_token(login)
        return JSONResponse(login.said(), headers={"Set-Cookie": f"sAccessToken={login.token}"})

    def _db_token(self, login: Login) -> Response:
        valid_s = self.db_token_valid_s
        token = sign(self.db_token_key, login.identity.user_id, valid_s=valid_s)
        expires_at = datetime.now(UTC) + timedelta(seconds=valid_s)
        return JSONResponse({"token": token, "expires_at": expires_at.isoformat()})

    def _check(self, request: Request, body: dict[str, Any]) -> Response:
        if request.headers["Authorization"] != f"Bearer {WORKER_TOKEN}":
            return JSONResponse({"code": "service_token_invalid"}, 401)
        known = {
            (it.identity.session_handle, it.identity.user_id): it for it in self.logins.values()
        }
        found = [(row, known.get((row["handle"], row["user_id"]))) for row in body["sessions"]]
        rows = [
            {**row, "active": it.active, "role": it.said()["role"] if it.active else None}
            for row, it in found
            if it is not None
        ]
        return JSONResponse({"sessions": rows})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands where Streamlit does: answers what it was given."""
    if scope["type"] == "lifespan":
        return
    headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    if scope["type"] == "http":
        await JSONResponse({"path": scope["path"], "headers": headers})(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "streamlit"})
    await send({"type": "websocket.send", "bytes": json.dumps(headers).encode()})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


@dataclass
class World:
    """A gate with everything around it."""

    api: ApiStandIn
    port: int
    sockets: Sockets
    vault: Vault
    watcher: Watcher
    clock: "Clock"

    def headers(self, login: Login, **changes: str | None) -> dict[str, str]:
        """What the proxy sends for a login; None takes a header away."""
        stated = {
            "X-User-Id": login.identity.user_id,
            "X-User-Role": login.identity.role,
            "X-Session-Handle": login.identity.session_handle,
            "X-Proxy-Secret": PROXY_SECRET,
            "Cookie": f"_streamlit_xsrf=x; sAccessToken={login.token}; theme=dark",
            "Origin": PUBLIC_URL,
        }
        changed = {name.replace("_", "-"): value for name, value in changes.items()}
        return {name: value for name, value in {**stated, **changed}.items() if value is not None}

    async def get(self, path: str, headers: Any = None, method: str = "GET") -> httpx.Response:
        """Ask the gate over HTTP."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
            return await client.request(method, path, headers=headers)

    def connect(self, headers: Any, path: str = "/_stcore/stream") -> connect:
        """Open a websocket through the gate."""
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        # The client library writes its own Origin.
        origin = next((value for name, value in pairs if name == "Origin"), None)
        return connect(
            f"ws://127.0.0.1:{self.port}{path}",
            additional_headers=[pair for pair in pairs if pair[0] != "Origin"],
            origin=origin,
            subprotocols=["streamlit"],
            proxy=None,
        )


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def gate_world(
    now: Any = lambda: datetime.now(UTC), sockets: Sockets | None = None, app: ASGIApp = echo
) -> AsyncIterator[World]:
    """Open a gate before an echo, or another app, with a stand-in of the API behind it."""
    api, sockets, vault, clock = ApiStandIn(), sockets or Sockets(), Vault(now), Clock()
    async with (
        serving(api.app) as api_port,
        Sessions(f"http://127.0.0.1:{api_port}", WORKER_TOKEN) as sessions,
    ):
        gate = SessionGate(
            app,
            sessions=sessions,
            sockets=sockets,
            vault=vault,
            proxy_secret=PROXY_SECRET,
            public_url=PUBLIC_URL,
        )
        watcher = Watcher(sessions, sockets, vault, clock)
        async with serving(gate) as port:
            yield World(api, port, sockets, vault, watcher, clock)


async def seen_by_the_page(connection: ClientConnection) -> dict[str, str]:
    """The headers that reached what stands in for Streamlit."""
    return dict(json.loads(await asyncio.wait_for(connection.recv(), 5)))
