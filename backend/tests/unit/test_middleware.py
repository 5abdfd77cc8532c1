"""The limit on request bodies, message by message."""

from collections.abc import Awaitable, Callable, Iterable

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from app.api.middleware import BODY_BYTES_MAX, BodyLimit
from app.core.errors import BodyIncomplete

CHUNK = b"x" * 10_000


async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Stand where the routes are."""
    raise AssertionError("a body that is too large reached the application")


async def unheard(_message: Message) -> None:
    """Stand where a client was."""


def arriving(messages: Iterable[Message], events: list[str]) -> Callable[[], Awaitable[Message]]:
    """Hand out a body part by part and note each one taken."""
    left = iter(messages)

    async def receive() -> Message:
        message = next(left, {"type": "http.disconnect"})
        events.append(str(message["type"]))
        return message

    return receive


async def refused(declared: int, messages: Iterable[Message]) -> tuple[list[str], int]:
    """Send a body of a declared length; return what happened in order, and the status."""
    events: list[str] = []
    statuses: list[int] = []

    async def send(message: Message) -> None:
        events.append(str(message["type"]))
        statuses.append(message.get("status", 0))

    scope = {
        "type": "http",
        "path": "/api/orders",
        "headers": [(b"content-length", str(declared).encode())],
    }
    await BodyLimit(never)(scope, arriving(messages, events), send)
    return events, statuses[0]


def parts(count: int) -> list[Message]:
    """Cut a body into chunks."""
    return [
        {"type": "http.request", "body": CHUNK, "more_body": number < count}
        for number in range(1, count + 1)
    ]


async def test_a_body_that_is_a_little_too_large_is_read_before_the_answer() -> None:
    events, status = await refused(7 * len(CHUNK), parts(7))
    assert status == 413
    assert events == ["http.request"] * 7 + ["http.response.start", "http.response.body"]


async def test_a_body_without_end_is_cut_off() -> None:
    events, status = await refused(10**12, parts(1_000))
    assert status == 413
    assert events.count("http.request") * len(CHUNK) <= 2 * BODY_BYTES_MAX + len(CHUNK)


async def test_a_client_that_hangs_up_is_not_waited_for() -> None:
    events, _status = await refused(10**6, parts(3)[:2])
    assert events[:3] == ["http.request", "http.request", "http.disconnect"]


async def test_a_body_that_breaks_off_is_the_clients_mistake() -> None:
    async def reading(scope: Scope, receive: Receive, _send: Send) -> None:
        await Request(scope, receive).body()

    scope = {"type": "http", "method": "POST", "path": "/api/orders", "headers": []}
    with pytest.raises(BodyIncomplete):
        await BodyLimit(reading)(scope, arriving(parts(3)[:2], []), unheard)
