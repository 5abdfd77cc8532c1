"""Side effect: QuantConnect. Sends signed commands to the bridge and says how each attempt ended.

QuantConnect answers "queued" and no more; what becomes of a command arrives by webhook. So
`accepted` here means queued, and every doubt is `unknown`, never a failure.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import httpx

from app.services.broker import Outcome, OutcomeKind, Send

Command = dict[str, str | int | None]

ANSWER_MAX = 64 * 1024
REASON_MAX = 200
RETRY_AFTER_MAX_S = 300.0
ACKNOWLEDGE_VALID = timedelta(seconds=10)
AUTH_TEXTS = ("hash doesn't match", "userid not valid")
# Nothing was written yet when these are raised.
NOT_SENT_ERRORS = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


class TokenBucket:
    """At most `per_minute` calls a minute, a tenth of them at once; None means no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self._per_second = None if per_minute is None else per_minute / 60
        self._size = max(1.0, (per_minute or 0) / 10)
        self._tokens, self._at = self._size, time.monotonic()

    def wait_s(self) -> float:
        """Take a token and return 0, or return how long to wait for one."""
        if self._per_second is None:
            return 0.0
        now = time.monotonic()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._per_second


class QuantConnectBroker:
    """The broker port over QuantConnect's API v2 and our bridge algorithm."""

    def __init__(
        self,
        *,
        url: str,
        user_id: str,
        token: str,
        webhook_hmac: str,
        epoch_of: Callable[[str], int | None],
        send_timeout_s: float = 2.0,
        commands_per_minute: float | None = None,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = urljoin(url.rstrip("/") + "/", "live/commands/create")
        self._user_id, self._token, self._hmac = user_id, token, webhook_hmac
        self._epoch_of, self._timeout_s = epoch_of, send_timeout_s
        # A connection that does not come about must be told from an answer that does not.
        self._timeouts = httpx.Timeout(
            send_timeout_s, connect=send_timeout_s / 2, pool=send_timeout_s / 2
        )
        self._bucket = TokenBucket(commands_per_minute)
        # Proxies and redirects would carry our token to places nobody named.
        self._client = client or httpx.AsyncClient(trust_env=False, follow_redirects=False)

    async def place(self, send: Send) -> Outcome:
        """Queue the order at the bridge, which places an id at most once."""
        order: Command = {
            "client_order_id": send.client_order_id,
            "symbol": send.symbol,
            "side": send.side,
            "order_type": send.order_type,
            "quantity": number_text(send.quantity),
            "limit_price": number_text(send.limit_price),
            "stop_price": number_text(send.stop_price),
            "time_in_force": send.time_in_force,
            "expires_at": None if send.expires_at is None else moment_text(send.expires_at),
        }
        return await self._command(send.broker_account, "PlaceOrder", order, send.valid_until)

    async def cancel(self, send: Send) -> Outcome:
        """Queue the end of the order at the bridge."""
        order: Command = {"client_order_id": send.client_order_id}
        return await self._command(send.broker_account, "CancelOrder", order, send.valid_until)

    async def replace(self, send: Send) -> Outcome:
        """Queue the change of the order at the bridge; null leaves a value as it is."""
        order: Command = {
            "client_order_id": send.client_order_id,
            "quantity": number_text(send.quantity),
            "limit_price": number_text(send.limit_price),
            "stop_price": number_text(send.stop_price),
        }
        return await self._command(send.broker_account, "ReplaceOrder", order, send.valid_until)

    async def query(self, send: Send) -> Outcome:
        """Queue the question what became of the order; the bridge answers by webhook."""
        order: Command = {"client_order_id": send.client_order_id}
        return await self._command(send.broker_account, "QueryOrder", order, send.valid_until)

    async def acknowledge(self, broker_account: str, sequence: int) -> Outcome:
        """Let the bridge forget the events that are stored here."""
        valid_until = datetime.now(UTC) + ACKNOWLEDGE_VALID
        return await self._command(
            broker_account, "Acknowledge", {"sequence": sequence}, valid_until
        )

    async def close(self) -> None:
        """Close the shared connections."""
        await self._client.aclose()

    async def _command(
        self, broker_account: str, kind: str, fields: Command, valid_until: datetime
    ) -> Outcome:
        if not (broker_account.isascii() and broker_account.isdigit()):
            return _not_sent(f"{broker_account[:50]} is not a QuantConnect project id")
        epoch = self._epoch_of(f"qc:{broker_account}")
        if epoch is None:
            return _not_sent("bridge not seen")
        wait_s = self._bucket.wait_s()
        if wait_s > 0:
            return Outcome(kind=OutcomeKind.THROTTLED, reason="own limit", retry_after_s=wait_s)
        command: Command = {
            "$type": kind,
            "id": uuid.uuid4().hex,
            "version": 1,
            "epoch": epoch,
            "sent_at": moment_text(datetime.now(UTC)),
            "valid_until": moment_text(valid_until),
            **fields,
        }
        command["signature"] = sign_command(self._hmac, command)
        return await self._post({"projectId": int(broker_account), "command": command})

    async def _post(self, body: dict[str, Any]) -> Outcome:
        """Make one attempt; whatever goes wrong once a byte may have left is `unknown`."""
        content = json.dumps(body).encode()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(content)
        except NOT_SENT_ERRORS as error:
            return _not_sent(type(error).__name__)
        except TimeoutError:
            return _unknown("no answer in time")
        except httpx.HTTPError as error:
            return _unknown(type(error).__name__)

    async def _exchange(self, content: bytes) -> Outcome:
        headers = {**auth_headers(self._user_id, self._token), "Content-Type": "application/json"}
        request = self._client.stream(
            "POST", self._url, content=content, headers=headers, timeout=self._timeouts
        )
        async with request as response:
            answer = b""
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > ANSWER_MAX:
                    return _unknown("the answer is too large")
            return outcome_of(response.status_code, response.headers, answer)


def outcome_of(status: int, headers: httpx.Headers, answer: bytes) -> Outcome:
    """Read QuantConnect's answer; what it does not clearly say is `unknown`."""
    fields = _json_object(answer)
    text = _error_text(fields) if fields is not None else answer.decode("utf-8", "replace")
    reason = " ".join(text.split())[:REASON_MAX] or f"HTTP {status}"
    if status == 429:
        seconds = retry_after_s(headers.get("Retry-After"))
        return Outcome(kind=OutcomeKind.THROTTLED, reason=reason, retry_after_s=seconds)
    is_auth_text = any(known in text.lower() for known in AUTH_TEXTS)
    if status in (401, 403) or (is_auth_text and (status in (200, 500) or 400 <= status < 500)):
        return Outcome(kind=OutcomeKind.AUTH, reason=reason)
    if 400 <= status < 500 and status != 408:
        return Outcome(kind=OutcomeKind.DEFINITE_REJECT, reason=reason)
    if status != 200 or fields is None or not isinstance(fields.get("success"), bool):
        return _unknown(f"HTTP {status}" if status != 200 else "the answer is not understood")
    if fields["success"]:
        return Outcome(kind=OutcomeKind.ACCEPTED)
    return Outcome(kind=OutcomeKind.DEFINITE_REJECT, reason=reason)


def auth_headers(user_id: str, token: str) -> dict[str, str]:
    """Sign afresh: a signature is bound to its second."""
    timestamp = str(int(time.time()))
    digest = hashlib.sha256(f"{token}:{timestamp}".encode()).hexdigest()
    credentials = base64.b64encode(f"{user_id}:{digest}".encode()).decode()
    return {"Timestamp": timestamp, "Authorization": f"Basic {credentials}"}


def sign_command(secret: str, command: Command) -> str:
    """Sign all fields but the signature, in the one form that both sides can rebuild."""
    fields = {name: value for name, value in command.items() if name != "signature"}
    body = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()


def number_text(value: Decimal | None) -> str | None:
    """Write a number for the wire: no exponent, no idle zeros."""
    if value is None:
        return None
    return format(value.normalize(), "f") if value else "0"


def moment_text(moment: datetime) -> str:
    """Write a moment with all six decimals, so that the bridge can compare times as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def retry_after_s(value: str | None) -> float | None:
    """Read Retry-After in both of its forms; no longer than five minutes."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), RETRY_AFTER_MAX_S)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def _json_object(answer: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _error_text(fields: dict[str, Any]) -> str:
    """QuantConnect names its errors in three ways."""
    errors = fields.get("errors") or fields.get("messages") or fields.get("Message") or ""
    return "; ".join(str(error) for error in errors) if isinstance(errors, list) else str(errors)


def _not_sent(reason: str) -> Outcome:
    return Outcome(kind=OutcomeKind.NOT_SENT, reason=reason)


def _unknown(reason: str) -> Outcome:
    return Outcome(kind=OutcomeKind.UNKNOWN, reason=reason)
