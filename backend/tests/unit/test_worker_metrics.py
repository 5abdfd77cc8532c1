"""What the worker answers to its operators."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from worker.__main__ import EXIT_CONFIG
from worker.metrics import Metrics, MetricsServer


class Lanes:
    """The state of health as the server is told it."""

    well = True

    def __call__(self) -> tuple[bool, dict[str, Any]]:
        return self.well, {"status": "open" if self.well else "no_bridge_heard"}


@pytest.fixture
async def face() -> AsyncIterator[tuple[int, Metrics, Lanes]]:
    metrics, lanes = Metrics(), Lanes()
    server = MetricsServer(metrics, lanes, host="127.0.0.1", port=0)
    yield await server.start(), metrics, lanes
    await server.stop()


async def ask(port: int, request: bytes) -> tuple[int, bytes]:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


async def get(port: int, path: str) -> tuple[int, bytes]:
    return await ask(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


async def test_health_says_whether_the_lanes_are_open(face: tuple[int, Metrics, Lanes]) -> None:
    port, _, lanes = face
    assert await get(port, "/healthz") == (200, b'{"status": "open"}\n')
    lanes.well = False
    status, body = await get(port, "/healthz")
    assert (status, json.loads(body)) == (503, {"status": "no_bridge_heard"})


async def test_metrics_carry_what_was_counted(face: tuple[int, Metrics, Lanes]) -> None:
    port, metrics, _ = face
    metrics.sends.labels("place", "accepted").inc()
    metrics.outbox_oldest_s.set(1.5)
    status, body = await get(port, "/metrics?name=x")
    assert status == 200
    assert b'informania_sends_total{action="place",outcome="accepted"} 1.0' in body
    assert b"informania_outbox_oldest_seconds 1.5" in body


async def test_two_workers_of_one_process_do_not_share_figures() -> None:
    first, second = Metrics(), Metrics()
    first.failed("send")
    assert second.registry.get_sample_value("informania_step_failures_total") is None


async def test_anything_else_is_refused(face: tuple[int, Metrics, Lanes]) -> None:
    port, _, _ = face
    assert (await get(port, "/"))[0] == 404
    assert (await ask(port, b"POST /healthz HTTP/1.1\r\n\r\n"))[0] == 405
    assert (await ask(port, b"\x00\xff\r\n\r\n"))[0] == 405


async def test_an_endless_request_is_hung_up_on(face: tuple[int, Metrics, Lanes]) -> None:
    port, _, _ = face
    try:
        status, _ = await ask(port, b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 100_000)
    except ConnectionError:
        status = 0
    assert status == 0
    assert (await get(port, "/healthz"))[0] == 200


def test_the_worker_answers_where_it_is_told() -> None:
    names = ("app_worker_password", "webhook_hmac", "qc_token")
    secrets = {name.upper(): "s" * 32 for name in names}
    done = subprocess.run(
        [sys.executable, "-m", "worker"],
        # An address kept for documentation, which no machine has.
        env={"PATH": os.environ["PATH"], "APP_ENV": "test", "WORKER_METRICS_HOST": "192.0.2.1"}
        | secrets,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == EXIT_CONFIG
    assert "('192.0.2.1', 9101)" in done.stderr
