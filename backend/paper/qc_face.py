"""QuantConnect's API v2 as far as the platform calls it, with its ways of failing."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from paper.engine import Engine
from paper.faults import Faults
from paper.orders import Event, Order
from paper.settings import Settings
from paper.venue import Venue

BODY_MAX = 64 * 1024
PAGE_MAX = 100
TYPES = {"market": 0, "limit": 1, "stop": 2, "stop_limit": 3}
STATUSES = {
    "new": 0,
    "accepted": 1,
    "partially_filled": 2,
    "filled": 3,
    "canceled": 5,
    "expired": 5,
    "rejected": 7,
}
Json = dict[str, Any]


class Refused(Exception):
    """QuantConnect's ordinary refusal: HTTP 200 and success false."""


def create_qc_face(settings: Settings, venue: Venue, engine: Engine, faults: Faults) -> FastAPI:
    """Serve /api/v2/* by GET and POST, taking JSON, forms and query strings alike."""
    face = _Face(settings, venue, engine, faults)
    app = FastAPI(title="Paper venue, QuantConnect's face", openapi_url=None)
    app.add_api_route("/api/v2/{path:path}", face.serve, methods=["GET", "POST"])
    return app


def ok(**fields: Any) -> JSONResponse:
    return JSONResponse({**fields, "success": True, "errors": []})


def refused(*errors: str, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"success": False, "errors": list(errors)}, status, headers)


class _Face:
    def __init__(self, settings: Settings, venue: Venue, engine: Engine, faults: Faults) -> None:
        self._settings, self._venue, self._engine, self._faults = settings, venue, engine, faults
        self._started = datetime.now().astimezone()
        self._snapshots: dict[tuple[str, int], tuple[float, Any]] = {}
        self._reads: dict[str, Callable[[Json], Json]] = {
            "authenticate": lambda fields: {},
            "live/read": self._live_read,
            "live/list": self._live_list,
            "live/orders/read": self._orders_read,
            "live/portfolio/read": self._portfolio_read,
        }

    async def serve(self, path: str, request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return refused("The request is too large", status=413)
        denied = self._denied(request)
        if denied is not None:
            return denied
        try:
            fields = _fields(request, body)
            if path == "live/commands/create":
                return await self._command_create(fields)
            if path not in self._reads:
                return refused(f"Unknown endpoint {path[:100]}", status=404)
            return ok(**self._reads[path](fields))
        except Refused as refusal:
            return refused(str(refusal))

    # Authentication.

    def _denied(self, request: Request) -> Response | None:
        """Check the two headers, or their link form in the query, in the two known ways."""
        given = request.headers.get("Authorization", "").removeprefix("Basic ")
        given = given or request.query_params.get("authorization", "")
        timestamp = request.headers.get("Timestamp") or request.query_params.get("timestamp", "")
        too_old = not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12
        too_old = too_old or abs(time.time() - int(timestamp)) > self._settings.qc_skew_seconds
        if not given or too_old:
            challenge = {"WWW-Authenticate": 'Basic realm="QuantConnect"'}
            text = "API key missing, invalid, or timestamp too old"
            return refused(text, status=401, headers=challenge)
        try:
            user, _, digest = base64.b64decode(given, validate=True).decode("ascii").partition(":")
        except ValueError:
            user, digest = "", ""
        if user != self._settings.qc_user_id:
            return refused("UserID not valid")
        token = self._settings.qc_token.get_secret_value().strip()
        expected = hashlib.sha256(f"{token}:{timestamp}".encode()).hexdigest()
        if not hmac.compare_digest(digest.encode(), expected.encode()):
            text = f"Hash doesn't match. UID: {user} Hash: {digest[:64]} Timestamp: '{timestamp}'"
            return refused(text)
        return None

    # Commands.

    async def _command_create(self, fields: Json) -> Response:
        """Queue a command. The answer says that it is queued, and not what becomes of it."""
        deployment = self._engine.deployments.get(_project(fields))
        command = fields.get("command")
        if deployment is None:
            raise Refused("There is no running live deployment of this project")
        if not isinstance(command, dict):
            raise Refused("command must be an object")
        ids = [str(command.get("client_order_id", command.get("$type", "")))]
        early = await self._fault_before(ids, deployment.project_id)
        if early is not None:
            return early
        payload = json.dumps(command)
        twice = self._faults.take("duplicate_command", ids, deployment.project_id) is not None
        for _ in range(2 if twice else 1):
            if not deployment.enqueue(payload):
                return refused("Too many commands wait", status=429, headers={"Retry-After": "1"})
        return await self._fault_after(ids, deployment.project_id) or ok()

    async def _fault_before(self, ids: list[str], project_id: int) -> Response | None:
        if fault := self._faults.take("delay", ids, project_id):
            await asyncio.sleep(fault.seconds)
        if fault := self._faults.take("throttle", ids, project_id):
            retry = {"Retry-After": str(int(fault.seconds))}
            return refused("Too many requests", status=429, headers=retry)
        if self._faults.take("auth_fail", ids, project_id):
            return refused("Hash doesn't match. UID: Hash: Timestamp: ''")
        if fault := self._faults.take("refuse", ids, project_id):
            return refused(fault.reason)
        if fault := self._faults.take("timeout_before_accept", ids, project_id):
            await asyncio.sleep(fault.seconds)
            return refused("Gateway timeout", status=504)
        return None

    async def _fault_after(self, ids: list[str], project_id: int) -> Response | None:
        if fault := self._faults.take("timeout_after_accept", ids, project_id):
            await asyncio.sleep(fault.seconds)
            return refused("Gateway timeout", status=504)
        if self._faults.take("5xx_after_accept", ids, project_id):
            return refused("Service unavailable", status=503)
        if self._faults.take("reset_mid_body", ids, project_id):
            return _CutShort()
        return None

    # Reads.

    def _live_read(self, fields: Json) -> Json:
        project_id = self._known_project(fields)
        return {"message": "", **self._live(project_id), "runtimeStatistics": {}, "charts": {}}

    def _live_list(self, fields: Json) -> Json:
        wanted = _project(fields) if "projectId" in fields else None
        status = fields.get("status", "Running")
        projects = [p for p in self._engine.deployments if wanted in (None, p)]
        return {"live": [self._live(p) for p in projects if status == "Running"]}

    def _live(self, project_id: int) -> Json:
        deployment = self._engine.deployments[project_id]
        return {
            "projectId": project_id,
            "deployId": deployment.algorithm_id,
            "status": "Running",
            "launched": self._started.strftime("%Y-%m-%d %H:%M:%S"),
            "stopped": None,
            "brokerage": "QuantConnectBrokerage",
        }

    def _orders_read(self, fields: Json) -> Json:
        project_id = self._known_project(fields)
        start, end = _integer(fields, "start", 0), _integer(fields, "end", PAGE_MAX)
        if not 0 <= end - start <= PAGE_MAX:
            raise Refused(f"end - start must be between 0 and {PAGE_MAX}")
        orders = self._snapshot("orders", project_id, self._all_orders)
        return {"orders": orders[start:end], "length": len(orders)}

    def _all_orders(self, project_id: int) -> list[Json]:
        algorithm_id = self._engine.deployments[project_id].algorithm_id
        with self._venue.lock:
            orders = self._venue.orders(project_id)
            return [order_json(order, algorithm_id) for order in orders]

    def _portfolio_read(self, fields: Json) -> Json:
        project_id = self._known_project(fields)
        return {"portfolio": self._snapshot("portfolio", project_id, self._portfolio)}

    def _portfolio(self, project_id: int) -> Json:
        with self._venue.lock:
            account = self._venue.book.accounts[project_id]
            prices = self._venue.book.prices
            holdings = {
                symbol: {
                    "symbol": symbol_json(symbol),
                    "averagePrice": float(position.cost / position.quantity),
                    "quantity": float(position.quantity),
                    "marketPrice": float(prices[symbol]),
                    "marketValue": float(position.quantity * prices[symbol]),
                }
                for symbol, position in account.positions.items()
                if position.quantity
            }
            cash = {"USD": {"symbol": "USD", "amount": float(account.cash), "conversionRate": 1.0}}
            return {"holdings": holdings, "cash": cash}

    def _snapshot(self, name: str, project_id: int, make: Callable[[int], Any]) -> Any:
        """Answer from a snapshot as old as QuantConnect's may be."""
        made_at, value = self._snapshots.get((name, project_id), (float("-inf"), None))
        if time.monotonic() - made_at >= self._settings.qc_snapshot_seconds:
            value = make(project_id)
            self._snapshots[name, project_id] = time.monotonic(), value
        return value

    def _known_project(self, fields: Json) -> int:
        project_id = _project(fields)
        if project_id not in self._engine.deployments:
            raise Refused("Project not found")
        return project_id


class _CutShort(Response):
    """An answer that promises more bytes than it has: the connection breaks within it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"succ', "more_body": True})
        raise ConnectionResetError("cut short by a fault")


async def _body(request: Request) -> bytes | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            return None
    return body


def _fields(request: Request, body: bytes) -> Json:
    fields: Json = dict(request.query_params)
    if "x-www-form-urlencoded" in request.headers.get("Content-Type", ""):
        return fields | dict(parse_qsl(body.decode("utf-8", "replace")))
    if body:
        try:
            parsed = json.loads(body)
        except ValueError as error:
            raise Refused("The body is not JSON") from error
        if not isinstance(parsed, dict):
            raise Refused("The body is not an object")
        fields |= parsed
    return fields


def _integer(fields: Json, name: str, default: int) -> int:
    try:
        return int(fields.get(name, default))
    except (TypeError, ValueError) as error:
        raise Refused(f"{name} must be a number") from error


def _project(fields: Json) -> int:
    return _integer(fields, "projectId", -1)


def symbol_json(symbol: str) -> Json:
    return {"value": symbol, "id": symbol, "permtick": symbol}


def order_json(order: Order, algorithm_id: str) -> Json:
    """LEAN's serialized order."""
    return {
        "id": order.order_id,
        "brokerId": [str(order.order_id)],
        "symbol": symbol_json(order.symbol),
        "price": float(order.notional / order.filled if order.filled else 0),
        "priceCurrency": "USD",
        "time": order.at.isoformat(),
        "createdTime": order.at.isoformat(),
        "quantity": float(order.sign * order.quantity),
        "type": TYPES[order.order_type],
        "status": STATUSES[order.status],
        "tag": order.tag,
        "limitPrice": None if order.limit_price is None else float(order.limit_price),
        "stopPrice": None if order.stop_price is None else float(order.stop_price),
        "direction": 0 if order.side == "buy" else 1,
        "events": [_event_json(order, event, algorithm_id) for event in order.events],
    }


def _event_json(order: Order, event: Event, algorithm_id: str) -> Json:
    words = {"accepted": "submitted", "partially_filled": "partiallyFilled", "rejected": "invalid"}
    words |= {"expired": "canceled", "replaced": "updateSubmitted"}
    return {
        "id": f"{algorithm_id}-{order.order_id}-{event.event_id}",
        "algorithmId": algorithm_id,
        "orderId": order.order_id,
        "orderEventId": event.event_id,
        "symbolValue": order.symbol,
        "time": event.at.timestamp(),
        "status": words.get(event.status, event.status),
        "fillPrice": float(event.price),
        "fillQuantity": float(order.sign * event.quantity),
        "orderFeeAmount": float(event.fee),
        "orderFeeCurrency": "USD",
        "message": event.message,
        "quantity": float(order.sign * event.order_quantity),
        "limitPrice": None if event.limit_price is None else float(event.limit_price),
        "stopPrice": None if event.stop_price is None else float(event.stop_price),
    }
