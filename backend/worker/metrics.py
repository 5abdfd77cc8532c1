"""What the worker tells its operators: Prometheus metrics and the health of its lanes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from app.core.logging import get_logger

log = get_logger(__name__)

REQUEST_BYTES_MAX = 8192
REQUEST_TIMEOUT_S = 5.0
CONNECTIONS_MAX = 32

Health = Callable[[], tuple[bool, dict[str, Any]]]


class Metrics:
    """One registry of its own, so that two workers in one process don't share figures."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"informania_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"informania_{name}", text, labels, registry=registry)

        self.sends = counter("sends_total", "Attempts to send, by outcome.", "action", "outcome")
        self.send_seconds = Histogram(
            "informania_send_seconds",
            "Time an attempt to send took.",
            ("action",),
            registry=registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0),
        )
        self.inbox = counter("inbox_applied_total", "Events of brokers, by outcome.", "outcome")
        self.failures = counter("step_failures_total", "Failed steps of the loops.", "step")
        self.acknowledgements = counter(
            "acknowledgements_total", "Acknowledgements to bridges, by outcome.", "outcome"
        )
        self.queries = counter("queries_owed_total", "Queries owed for orders in flight.")
        self.shards_owned = gauge("shards_owned", "Shards this worker may send for.")
        self.bridges_heard = gauge("bridges_heard", "Bridges with a fresh heartbeat.")
        self.bridges_known = gauge("bridges_known", "Bridges that were ever heard.")
        self.inbox_quarantined = gauge("inbox_quarantined", "Events that failed and wait.")
        self.outbox_oldest_s = gauge("outbox_oldest_seconds", "Age of the oldest pending row.")
        self.outbox_pending = gauge("outbox_pending", "Rows owed to brokers.")
        self.outbox_parked = gauge("outbox_parked", "Lanes that wait.")
        self.outbox_dead = gauge("outbox_dead", "Rows that need an operator.")
        self.orders_lost = gauge("orders_lost", "Orders that need an operator.")
        self.recon_breaks = counter(
            "recon_breaks_total", "Differences to a broker's figures, by what became.", "state"
        )
        self.notified = counter("notified_total", "Deliveries of messages, by their end.", "ended")
        self.notify_pending = gauge("notify_pending", "Events that people are still to be told.")
        self.notify_oldest_s = gauge("notify_oldest_seconds", "Age of the oldest of them.")
        self.notify_dead = gauge("notify_dead", "Events given up after too many failures.")
        self.executions_missing = counter(
            "executions_missing_total", "Executions that only a venue's own list told of."
        )
        self.breaker_open = gauge("route_breaker_open", "1 while a route is left alone.", "route")
        self.integrity_breaks = gauge(
            "integrity_breaks", "Figures that are not what the executions make them."
        )
        self.audit_broken = gauge("audit_broken_streams", "Streams whose hash chain is broken.")
        self.anchor_number = gauge("audit_anchor_number", "Newest anchor outside the database.")
        self.anchored_at_s = gauge("audit_anchored_at_seconds", "When it was made, since 1970.")

    def failed(self, step: str) -> None:
        """Count a failed step."""
        self.failures.labels(step).inc()


class MetricsServer:
    """Answers GET /metrics and /healthz on the event loop, so that a stuck loop is seen as such."""

    def __init__(self, metrics: Metrics, health: Health, *, host: str, port: int) -> None:
        self._metrics = metrics
        self._health = health
        self._host = host
        self._port = port
        self._free = CONNECTIONS_MAX
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen, and say on which port."""
        self._server = await asyncio.start_server(
            self._serve, self._host, self._port, limit=REQUEST_BYTES_MAX
        )
        port = int(self._server.sockets[0].getsockname()[1])
        log.info("metrics_listening", host=self._host, port=port)
        return port

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._free <= 0:
            writer.close()
            return
        self._free -= 1
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("metrics_request_dropped")
        finally:
            self._free += 1
            writer.close()

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.split(b"\r\n", 1)[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET only\n")
        if path == b"/metrics":
            figures = generate_latest(self._metrics.registry)
            return _response(HTTPStatus.OK, CONTENT_TYPE_LATEST, figures)
        if path == b"/healthz":
            well, state = self._health()
            status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
            return _response(status, "application/json", json.dumps(state).encode() + b"\n")
        return _response(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /healthz\n")


def _response(status: HTTPStatus, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
