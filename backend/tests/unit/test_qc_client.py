"""How each attempt at QuantConnect ends, against a real socket that misbehaves in each way."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest

from app.services.broker import Outcome, OutcomeKind, Send
from app.services.qc_client import (
    QuantConnectBroker,
    TokenBucket,
    moment_text,
    retry_after_s,
    sign_command,
)

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b'{"success": true, "errors": []}'
HASH = b'{"success": false, "errors": ["Hash doesn\'t match. UID: 1 Hash: x Timestamp: \'2\'"]}'


def make_send(**fields: Any) -> Send:
    values: dict[str, Any] = {
        "event_id": 1,
        "shard": 0,
        "epoch": 1,
        "action": "place",
        "kind": "order.place.v1",
        "order_id": 1,
        "client_order_id": "one",
        "account_id": 1,
        "route": "quantconnect",
        "broker_account": "1001",
        "symbol": "AAPL",
        "side": "buy",
        "order_type": "limit",
        "quantity": Decimal("10.000"),
        "limit_price": Decimal("1E+2"),
        "stop_price": None,
        "time_in_force": "day",
        "expires_at": None,
        "valid_until": datetime.now(UTC) + timedelta(seconds=10),
        "attempts": 1,
        "request_id": "r",
        **fields,
    }
    return Send(**values)


class Wire:
    """A server that reads a whole request and then does what the test says."""

    def __init__(self) -> None:
        self.answer: Answer = self.says(200, OK)
        self.heads: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.port = 0

    def says(self, status: int, body: bytes, **headers: str) -> Answer:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
            lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

        return answer

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
            body = await reader.readexactly(int(headers["content-length"]))
            self.heads.append(dict(line.split(": ", 1) for line in head[1:] if ": " in line))
            self.bodies.append(json.loads(body))
            await self.answer(reader, writer)
        finally:
            writer.close()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    server = await asyncio.start_server(wire.handle, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    yield wire
    server.close()
    await server.wait_closed()


async def outcome_at(port: int, **options: Any) -> Outcome:
    broker = make_broker(port, **options)
    try:
        return await broker.place(make_send())
    finally:
        await broker.close()


def make_broker(port: int, **options: Any) -> QuantConnectBroker:
    values: dict[str, Any] = {
        "url": f"http://127.0.0.1:{port}/api/v2/",
        "user_id": "7",
        "token": "tok",
        "webhook_hmac": "key",
        "epoch_of": {"qc:1001": 3}.get,
        "send_timeout_s": 0.4,
        **options,
    }
    return QuantConnectBroker(**values)


async def test_a_command_is_signed_and_carries_the_order_with_plain_numbers(wire: Wire) -> None:
    assert (await outcome_at(wire.port)).kind is OutcomeKind.ACCEPTED
    (body,), (head,) = wire.bodies, wire.heads
    command = body["command"]
    assert body["projectId"] == 1001
    assert command["signature"] == sign_command("key", command)
    assert [command["$type"], command["epoch"], command["version"]] == ["PlaceOrder", 3, 1]
    assert [command["quantity"], command["limit_price"], command["stop_price"]] == [
        "10",
        "100",
        None,
    ]
    digest = hashlib.sha256(f"tok:{head['Timestamp']}".encode()).hexdigest()
    assert base64.b64decode(head["Authorization"].split()[1]).decode() == f"7:{digest}"
    assert abs(time.time() - int(head["Timestamp"])) < 5


async def test_every_attempt_has_an_id_of_its_own_and_the_others_their_own_type(
    wire: Wire,
) -> None:
    broker = make_broker(wire.port)
    await broker.cancel(make_send())
    await broker.query(make_send())
    await broker.query(make_send())
    await broker.acknowledge("1001", 12)
    await broker.close()
    commands = [body["command"] for body in wire.bodies]
    kinds = ["CancelOrder", "QueryOrder", "QueryOrder", "Acknowledge"]
    assert [command["$type"] for command in commands] == kinds
    assert len({command["id"] for command in commands}) == 4
    assert commands[-1]["sequence"] == 12
    assert commands[-1]["valid_until"] > moment_text(datetime.now(UTC))


async def test_a_replace_carries_what_changes_and_null_for_what_does_not(wire: Wire) -> None:
    broker = make_broker(wire.port)
    send = make_send(action="replace", quantity=None, limit_price=Decimal("20.50"))
    assert (await broker.replace(send)).kind is OutcomeKind.ACCEPTED
    await broker.close()
    command = wire.bodies[0]["command"]
    assert command["$type"] == "ReplaceOrder"
    assert command["client_order_id"] == "one"
    values = [command[name] for name in ("quantity", "limit_price", "stop_price")]
    assert values == [None, "20.5", None]
    assert command["signature"] == sign_command("key", command)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, OK, OutcomeKind.ACCEPTED),
        (200, b'{"success": false, "errors": ["No deployment"]}', OutcomeKind.DEFINITE_REJECT),
        (200, b'{"success": false, "messages": ["No"]}', OutcomeKind.DEFINITE_REJECT),
        (200, HASH, OutcomeKind.AUTH),
        (200, b'{"success": false, "errors": ["UserID not valid"]}', OutcomeKind.AUTH),
        (401, b"denied", OutcomeKind.AUTH),
        (500, HASH, OutcomeKind.AUTH),
        (500, b'{"success": false, "errors": ["boom"]}', OutcomeKind.UNKNOWN),
        (500, OK, OutcomeKind.UNKNOWN),
        (502, b"<html>", OutcomeKind.UNKNOWN),
        (503, OK, OutcomeKind.UNKNOWN),
        (302, b"", OutcomeKind.UNKNOWN),
        (204, b"", OutcomeKind.UNKNOWN),
        (408, b"", OutcomeKind.UNKNOWN),
        (400, b'{"success": false, "errors": ["bad"]}', OutcomeKind.DEFINITE_REJECT),
        (404, b"", OutcomeKind.DEFINITE_REJECT),
        (200, b"", OutcomeKind.UNKNOWN),
        (200, b"[]", OutcomeKind.UNKNOWN),
        (200, b'{"success": "yes"}', OutcomeKind.UNKNOWN),
        (200, b'{"success": tr', OutcomeKind.UNKNOWN),
        (200, b"[" * 60_000, OutcomeKind.UNKNOWN),
        (200, b'{"success": true, "errors": ["' + b"x" * 70_000 + b'"]}', OutcomeKind.UNKNOWN),
    ],
)
async def test_an_answer_is_read_as_what_it_proves(
    wire: Wire, status: int, body: bytes, kind: OutcomeKind
) -> None:
    wire.answer = wire.says(status, body)
    outcome = await outcome_at(wire.port)
    assert outcome.kind is kind
    assert len(outcome.reason or "") <= 200


@pytest.mark.parametrize(("given", "seconds"), [("7", 7.0), ("999999", 300.0), ("soon", None)])
async def test_too_many_requests_are_throttled_for_as_long_as_the_answer_says(
    wire: Wire, given: str, seconds: float | None
) -> None:
    wire.answer = wire.says(429, b"slow down", Retry_After=given)
    outcome = await outcome_at(wire.port)
    assert [outcome.kind, outcome.retry_after_s] == [OutcomeKind.THROTTLED, seconds]


async def test_silence_after_the_request_is_unknown(wire: Wire) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client gives up

    wire.answer = silence
    assert (await outcome_at(wire.port)).kind is OutcomeKind.UNKNOWN
    assert len(wire.bodies) == 1


async def test_an_answer_that_drips_past_the_deadline_is_unknown(wire: Wire) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not reader.at_eof():
            writer.write(b" ")
            await asyncio.sleep(0.05)

    wire.answer = drip
    started = time.monotonic()
    assert (await outcome_at(wire.port)).kind is OutcomeKind.UNKNOWN
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "cut", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"HTTP/1.1", b"garbage\r\n\r\n"]
)
async def test_a_connection_that_ends_early_is_unknown(wire: Wire, cut: bytes) -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(cut)

    wire.answer = end
    assert (await outcome_at(wire.port)).kind is OutcomeKind.UNKNOWN


async def test_a_reset_after_the_request_is_unknown(wire: Wire) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    wire.answer = reset
    assert (await outcome_at(wire.port)).kind is OutcomeKind.UNKNOWN


async def test_a_refused_connection_is_not_sent() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    assert (await outcome_at(port)).kind is OutcomeKind.NOT_SENT


async def test_without_a_bridge_or_a_project_nothing_is_sent(wire: Wire) -> None:
    blind = await outcome_at(wire.port, epoch_of=lambda source: None)
    assert [blind.kind, blind.reason] == [OutcomeKind.NOT_SENT, "bridge not seen"]
    broker = make_broker(wire.port, epoch_of=lambda source: 1)
    stray = await broker.place(make_send(broker_account="DU12345"))
    await broker.close()
    assert stray.kind is OutcomeKind.NOT_SENT
    assert wire.bodies == []


async def test_beyond_the_own_limit_a_command_waits_unsent(wire: Wire) -> None:
    broker = make_broker(wire.port, commands_per_minute=20)
    outcomes = [await broker.query(make_send()) for _ in range(3)]
    await broker.close()
    kinds = [outcome.kind for outcome in outcomes]
    assert kinds == [OutcomeKind.ACCEPTED, OutcomeKind.ACCEPTED, OutcomeKind.THROTTLED]
    assert 0 < (outcomes[-1].retry_after_s or 0) <= 3
    assert len(wire.bodies) == 2


def test_a_bucket_without_a_limit_never_waits() -> None:
    bucket = TokenBucket(None)
    assert {bucket.wait_s() for _ in range(1000)} == {0.0}


def test_retry_after_is_read_as_a_date_too() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=60)
    assert 55 < (retry_after_s(format_datetime(moment)) or 0) <= 60
    assert retry_after_s(format_datetime(moment - timedelta(hours=1))) == 0
    assert retry_after_s("٣") is None
