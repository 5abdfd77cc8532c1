"""What every request passes first: an id, a limit on its body, an answer whatever happens."""

import asyncio
import contextlib
import re
from time import perf_counter
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import AppError, BodyIncomplete, BodyTooLarge, RequestTimeout
from app.core.logging import get_logger
from app.core.problems import problem_response

log = get_logger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
BODY_BYTES_MAX = 64 * 1024
# 500 orders with every field at its longest are below 200 KiB.
BATCH_BYTES_MAX = 256 * 1024
BATCH_PATH = "/api/orders/batch"
BULK_BYTES_MAX = 8 * 1024 * 1024
BULK_PREFIX = "/api/data/"
# For the whole body, however slowly its parts drip in.
BODY_TIMEOUT_S = 10.0
BULK_TIMEOUT_S = 60.0
QUIET_PREFIXES = ("/api/health/",)


def request_id_of(scope: Scope) -> str:
    """Return the id under which this request is logged everywhere."""
    return str(scope["state"]["request_id"])


class RequestContext:
    """Gives a request its id, logs its end, and turns what nobody caught into a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        answer = _Answer(send, request_id)
        started = perf_counter()
        try:
            await self.app(scope, receive, answer.send)
        except Exception as error:
            await _last_resort(error, scope, receive, answer)
        finally:
            _log_end(scope, answer.status, perf_counter() - started)


class _Answer:
    """Remembers the status and adds the headers of every answer."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid4().hex


async def _last_resort(error: Exception, scope: Scope, receive: Receive, answer: _Answer) -> None:
    if not isinstance(error, AppError):
        log.error("unexpected_error", exc_info=error)
    if answer.status is not None:
        raise error
    problem = error if isinstance(error, AppError) else AppError()
    await problem_response(problem, scope["path"])(scope, receive, answer.send)


def _log_end(scope: Scope, status: int | None, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", None)
    say = log.debug if scope["path"].startswith(QUIET_PREFIXES) else log.info
    say(
        "request",
        method=scope["method"],
        route=route,
        path=scope["path"],
        status=status,
        duration_ms=round(seconds * 1000, 2),
    )


def body_bytes_max(path: str) -> int:
    """Say how large the body of a request to this path may be; both proxies say the same."""
    if path.startswith(BULK_PREFIX):
        return BULK_BYTES_MAX
    return BATCH_BYTES_MAX if path == BATCH_PATH else BODY_BYTES_MAX


class BodyLimit:
    """Refuses a body that is too large or too slow, before and while it arrives."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = body_bytes_max(scope["path"])
        timeout_s = BULK_TIMEOUT_S if limit == BULK_BYTES_MAX else BODY_TIMEOUT_S
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > limit:
            await _let_it_be_sent(receive, 2 * limit, timeout_s)
            answer = problem_response(BodyTooLarge(), scope["path"])
            # The rest of the body is not read, so the connection cannot serve another request.
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
            return
        await self.app(scope, _limited(receive, limit, timeout_s), send)


async def _let_it_be_sent(receive: Receive, limit: int, timeout_s: float) -> None:
    """Drop what is on its way: who still sends when we hang up sees a reset, not the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while limit > 0 and (message := await receive()).get("more_body", False):
                limit -= len(message.get("body", b""))


def _limited(receive: Receive, limit: int, timeout_s: float) -> Receive:
    taken = 0
    complete = False
    deadline = asyncio.get_running_loop().time() + timeout_s

    async def limited() -> Message:
        nonlocal taken, complete
        if complete:
            # What comes now is the client's leaving, which may take as long as it likes.
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError as error:
            raise RequestTimeout() from error
        if message["type"] == "http.disconnect":
            raise BodyIncomplete()
        taken += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if taken > limit:
            raise BodyTooLarge()
        return message

    return limited
