"""Every write of the screen: calls to the API on its private address, with the user's own token."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import orjson
from gate.identity import ACCESS_COOKIE
from gate.vault import get_vault
from services.logs import get_logger
from services.models import Changes, Channel, LimitUse, OrderState, Preview, Ticket, User
from services.once import Once
from services.settings import get_settings
from services.wire import forgetful_jar

log = get_logger(__name__)

UNAUTHORIZED = HTTPStatus.UNAUTHORIZED
# An answer that takes longer is as good as none: the order is then known by its client_order_id.
TIMEOUT = httpx.Timeout(10.0, connect=2.0, pool=2.0)
LIMITS = httpx.Limits(max_connections=50, max_keepalive_connections=10)
ANSWER_BYTES_MAX = 1024 * 1024


class ApiProblem(Exception):
    """The API refused, and says why; nothing was done."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = errors or []


class ApiDown(Exception):
    """There was no readable answer, so whether something was done is not known."""


def preview(user: User, ticket: Ticket) -> Preview:
    """Ask what the rules would say of a ticket; nothing is written."""
    said = _call(user, "POST", "/api/orders/preview", _ticket(ticket))
    with _readable():
        return Preview(
            would=str(said["would"]),
            reason_code=said["reason_code"],
            quantity_max=_number(said["quantity_max"]),
            notional=_number(said["notional"]),
            estimated_fee=_number(said["estimated_fee"]),
            mark_price=_number(said["mark_price"]),
            mark_age_s=None if said["mark_age_s"] is None else float(said["mark_age_s"]),
            position_before=Decimal(said["position_before"]),
            position_after=Decimal(said["position_after"]),
            cash_before=Decimal(said["cash_before"]),
            cash_after=_number(said["cash_after"]),
            limits=tuple(_limit(row) for row in said["limits"]),
            warnings=tuple(str(line) for line in said["warnings"]),
        )


def place(user: User, ticket: Ticket, client_order_id: str) -> OrderState:
    """Place an order once, however often this is called with the same client_order_id."""
    key = {"Idempotency-Key": client_order_id}
    return _order(_call(user, "POST", "/api/orders", _ticket(ticket), key))


def cancel(user: User, order_id: int) -> OrderState:
    """Ask for the cancellation of an order."""
    return _order(_call(user, "POST", f"/api/orders/{order_id:d}/cancel"))


def replace(user: User, order_id: int, changes: Changes, key: str) -> OrderState:
    """Ask for other terms of a working order; the same key asks once, however often it is sent."""
    body = {
        name: f"{value:f}"
        for name in ("quantity", "limit_price", "stop_price")
        if (value := getattr(changes, name)) is not None
    }
    return _order(_call(user, "PATCH", f"/api/orders/{order_id:d}", body, {"Idempotency-Key": key}))


def cancel_all(user: User, account_id: int, key: str) -> int:
    """Ask for the cancellation of every open order of an account; answers how many there were."""
    body = {"account_id": str(account_id)}
    said = _call(user, "POST", "/api/orders/cancel-all", body, {"Idempotency-Key": key})
    with _readable():
        return int(said["canceled"])


def switch(user: User, action: str, scope_id: int, reason: str, *, cancel_open: bool) -> str:
    """Halt, reduce or resume trading of an account, of everyone when it is 0; the state after."""
    body: dict[str, object] = {
        "scope": "account" if scope_id else "global",
        "scope_id": str(scope_id),
        "reason": reason,
    }
    if action == "halt":
        body["cancel_open"] = cancel_open
    said = _call(user, "POST", f"/api/trading/{action}", body)
    with _readable():
        return str(said["state"])


def resolve_break(user: User, break_id: int, reason: str) -> None:
    """Say what a break with the broker was; saying it again changes nothing."""
    _call(user, "POST", f"/api/admin/recon-breaks/{break_id:d}/resolve", {"reason": reason})


def channels(user: User) -> list[Channel]:
    """Where the user is told of news."""
    said = _call(user, "GET", "/api/notifications")
    with _readable():
        return [_channel(row) for row in said["items"]]


def set_channel(user: User, channel: Channel, address: str) -> None:
    """Make or change a channel; without an address it keeps the one it has."""
    body: dict[str, object] = {
        "kinds": list(channel.kinds),
        "interval_s": channel.interval_s,
        "enabled": channel.enabled,
    }
    if channel.account_ids is not None:
        body["account_ids"] = [str(account_id) for account_id in channel.account_ids]
    if address:
        body["url"] = address
    _call(user, "PUT", f"/api/notifications/{quote(channel.name, safe='')}", body)


def send_test(user: User, name: str) -> None:
    """Ask for a message to oneself."""
    _call(user, "POST", f"/api/notifications/{quote(name, safe='')}/test")


def remove_channel(user: User, name: str) -> None:
    """End a channel, and what it was still to tell."""
    _call(user, "DELETE", f"/api/notifications/{quote(name, safe='')}")


def db_token(user: User) -> tuple[str, datetime]:
    """Fetch the token by which the database believes who reads, and when it ends."""
    said = _call(user, "POST", "/api/session/db-token")
    with _readable():
        return str(said["token"]), _moment(said["expires_at"])


def close() -> None:
    """Close the connections to the API, if there are any."""
    if client := _client.take():
        client.close()


def _make_client() -> httpx.Client:
    # No proxy of the environment may come between: the tokens of all users pass here.
    return httpx.Client(
        base_url=get_settings().api_url,
        timeout=TIMEOUT,
        limits=LIMITS,
        trust_env=False,
        cookies=forgetful_jar(),
    )


_client = Once(_make_client)


def _call(
    user: User,
    method: str,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    headers = {**_headers(user), **(headers or {})}
    content = None if body is None else orjson.dumps(body)
    request_id = headers["X-Request-Id"]
    try:
        with _client().stream(method, path, content=content, headers=headers) as answer:
            return _judged(answer, _body(answer))
    except httpx.HTTPError as error:
        reason = type(error).__name__
        log.warning("api_down", extra={"path": path, "request_id": request_id, "reason": reason})
        raise ApiDown("The API did not answer.") from error


def _headers(user: User) -> dict[str, str]:
    held = get_vault().get(user.session_handle)
    if held is None or held.identity.user_id != user.user_id:
        raise ApiProblem(UNAUTHORIZED, "session_required", "You are signed out.")
    return {
        "Cookie": f"{ACCESS_COOKIE}={held.token}",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Origin": get_settings().public_url,
        "rid": "anti-csrf",
        "X-Request-Id": uuid4().hex,
    }


def _body(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code == HTTPStatus.NO_CONTENT:
        return {}
    received = bytearray()
    for part in answer.iter_bytes():
        received += part
        if len(received) > ANSWER_BYTES_MAX:
            raise ApiDown("The API's answer is too long.")
    try:
        body = orjson.loads(bytes(received))
    except orjson.JSONDecodeError as error:
        raise ApiDown("The API's answer is not readable.") from error
    if body is None:
        # It was taken, and there is nothing to tell.
        return {}
    if not isinstance(body, dict):
        raise ApiDown("The API's answer is not readable.")
    return body


def _judged(answer: httpx.Response, body: dict[str, Any]) -> dict[str, Any]:
    if answer.is_success:
        return body
    if not answer.is_client_error:
        raise ApiDown(f"The API answered {answer.status_code}.")
    errors = body.get("errors")
    raise ApiProblem(
        answer.status_code,
        str(body.get("code", "unknown")),
        str(body.get("title", "The API refused.")),
        body.get("detail"),
        errors if isinstance(errors, list) else [],
    )


def _ticket(ticket: Ticket) -> dict[str, str]:
    fields = {
        "account_id": str(ticket.account_id),
        "symbol": ticket.symbol,
        "side": ticket.side,
        "order_type": ticket.order_type,
        "quantity": f"{ticket.quantity:f}",
        "time_in_force": ticket.time_in_force,
    }
    if ticket.limit_price is not None:
        fields["limit_price"] = f"{ticket.limit_price:f}"
    if ticket.stop_price is not None:
        fields["stop_price"] = f"{ticket.stop_price:f}"
    if ticket.expires_at is not None:
        fields["expires_at"] = ticket.expires_at.isoformat()
    return fields


def _order(said: dict[str, Any]) -> OrderState:
    with _readable():
        return OrderState(
            order_id=int(said["order_id"]),
            client_order_id=str(said["client_order_id"]),
            account_id=int(said["account_id"]),
            status=str(said["status"]),
            reason_code=said["reason_code"],
            cum_quantity=Decimal(said["cum_quantity"]),
            average_price=_number(said["average_price"]),
            replayed=said["replayed"] is True,
            created_at=_moment(said["created_at"]),
            updated_at=_moment(said["updated_at"]),
            quantity_max=_number(said.get("quantity_max")),
        )


def _channel(row: dict[str, Any]) -> Channel:
    ids = row["account_ids"]
    return Channel(
        name=str(row["name"]),
        hint=str(row["hint"]),
        kinds=tuple(str(kind) for kind in row["kinds"]),
        account_ids=None if ids is None else tuple(int(account_id) for account_id in ids),
        interval_s=int(row["interval_s"]),
        enabled=row["enabled"] is True,
        pending=int(row["pending"]),
        dead=int(row["dead"]),
        last_error=row["last_error"],
        sent_at=None if row["sent_at"] is None else _moment(row["sent_at"]),
    )


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise ApiDown("The API's answer is not readable.") from error


def _limit(row: dict[str, Any]) -> LimitUse:
    return LimitUse(str(row["name"]), Decimal(row["used"]), Decimal(row["limit"]))


def _number(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a moment without its offset")
    return moment
