"""What stands behind a proxy under test: a real server that answers with what reached it."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.types import Message, Receive, Scope, Send

SESSION = "sAccessToken=good"
IDENTITY = {"x-user-id": "u-1", "x-user-role": "trader", "x-session-handle": "handle-1"}
# A request may say with what it wants to be answered.
WISH = "X-Test-Answer"
PROBLEM = "application/problem+json"
LEAKS = {"Server": "leaky/1.0", "Via": "1.1 leaky", "X-Frame-Options": "SAMEORIGIN"}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body_bytes: int

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]


@dataclass
class Upstream:
    """A server with a name, which remembers all that it was asked."""

    name: str
    public_urls: set[str] = field(default_factory=set)
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    # With what its gate answers while it cannot tell.
    unwell: int | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._converse(scope, receive, send)
            return
        body_bytes = await _drain(receive)
        seen = self._remember(scope, body_bytes)
        if scope["path"] == "/auth/verify":
            await self._verify(seen, send)
            return
        wish = json.loads((seen.all(WISH) or ["{}"])[0])
        await asyncio.sleep(wish.get("delay_s", 0))
        await _answer(
            send,
            wish.get("status", 200),
            {
                "upstream": self.name,
                "method": scope["method"],
                "path": seen.path,
                "headers": seen.headers,
                "body_bytes": body_bytes,
                "padding": "x" * wish.get("padding", 0),
            },
            {"Content-Type": "application/json", **LEAKS, **wish.get("headers", {})},
        )

    def _remember(self, scope: Scope, body_bytes: int) -> Seen:
        query = scope["query_string"].decode()
        path = scope["raw_path"].decode() + (f"?{query}" if query else "")
        headers = tuple((name.decode(), value.decode()) for name, value in scope["headers"])
        self.seen.append(Seen(path, headers, body_bytes))
        return self.seen[-1]

    async def _verify(self, seen: Seen, send: Send) -> None:
        """Answer as the API's gate does."""
        if self.unwell is not None:
            await _problem(send, self.unwell, "database_unavailable")
        elif not set(seen.all("origin")) <= self.public_urls:
            await _problem(send, 403, "csrf_rejected")
        elif SESSION in "".join(seen.all("cookie")):
            await _answer(send, 200, None, {**IDENTITY})
        else:
            await _problem(send, 401, "session_required")

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = self._remember(scope, 0)
        await receive()
        protocols = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": protocols[0] if protocols else None})
        await send({"type": "websocket.send", "text": json.dumps(seen.headers)})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})


async def _drain(receive: Receive) -> int:
    body_bytes = 0
    while True:
        message: Message = await receive()
        body_bytes += len(message.get("body", b""))
        if not message.get("more_body", False):
            return body_bytes


async def _problem(send: Send, status: int, code: str) -> None:
    said = {"status": status, "code": code, "instance": "/auth/verify"}
    await _answer(send, status, said, {"Content-Type": PROBLEM})


async def _answer(send: Send, status: int, said: Any, headers: dict[str, str]) -> None:
    # The body of a 304 would be read as the beginning of the next answer.
    body = b"" if said is None or status == HTTPStatus.NOT_MODIFIED else json.dumps(said).encode()
    headers = {**headers, "Content-Length": str(len(body))}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(upstream: Upstream) -> Iterator[Upstream]:
    """Serve in a thread of its own, so that blocking clients can ask."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        upstream.port = listener.getsockname()[1]
        config = uvicorn.Config(
            upstream,
            lifespan="off",
            # Its own configuration would change the loggers of every test after this one.
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
        )
        config.timeout_graceful_shutdown = 1
        server = uvicorn.Server(config)
        # Who connects before it serves waits in the listener's queue.
        listener.listen()
        thread = threading.Thread(target=server.run, args=([listener],), name=upstream.name)
        thread.start()
        try:
            yield upstream
        finally:
            server.should_exit = True
            thread.join(10)
