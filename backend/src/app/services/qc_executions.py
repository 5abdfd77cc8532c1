"""Reads QuantConnect's list of orders: the executions that the venue has, whatever we were told.

Such a list may be ten minutes old, so it proves what is missing here, and never what is not there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import urljoin

import httpx

from app.core.logging import get_logger
from app.services.qc_client import auth_headers, moment_text, number_text

log = get_logger(__name__)

PAGE_ORDERS = 100
ANSWER_MAX = 8 * 1024 * 1024
READ_TIMEOUT_S = 15.0
Fill = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Page:
    """Fills of some orders, and how many orders the venue lists in all."""

    fills: Sequence[Fill]
    length: int


class ListsExecutions(Protocol):
    """A venue that can be asked what it has executed."""

    async def page(self, broker_account: str, start: int) -> Page | None:
        """Read the fills of the next orders from a place on; None when that failed."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


class QuantConnectExecutions:
    """The list over QuantConnect's API v2, `live/orders/read`."""

    def __init__(
        self, *, url: str, user_id: str, token: str, client: httpx.AsyncClient | None = None
    ) -> None:
        self._url = urljoin(url.rstrip("/") + "/", "live/orders/read")
        self._user_id, self._token = user_id, token
        self._client = client or httpx.AsyncClient(trust_env=False, follow_redirects=False)

    async def page(self, broker_account: str, start: int) -> Page | None:
        """Read up to 100 orders; a failed query is unknown, not empty."""
        try:
            body = {"projectId": int(broker_account), "start": start, "end": start + PAGE_ORDERS}
            async with asyncio.timeout(READ_TIMEOUT_S):
                answer = json.loads(await self._read(json.dumps(body).encode()))
            if answer["success"] is not True:
                raise ValueError("refused")
            fills = [fill for order in answer["orders"] for fill in _fills(order)]
            return Page(fills, int(answer["length"]))
        except (httpx.HTTPError, TimeoutError, RecursionError) as error:
            log.warning("executions_not_listed", account=broker_account, error=type(error).__name__)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            log.warning("executions_not_understood", account=broker_account)
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _read(self, content: bytes) -> bytes:
        headers = {**auth_headers(self._user_id, self._token), "Content-Type": "application/json"}
        request = self._client.stream("POST", self._url, content=content, headers=headers)
        async with request as response:
            answer = b""
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > ANSWER_MAX:
                    raise ValueError("the answer is too large")
            return answer


def _fills(order: dict[str, Any]) -> list[Fill]:
    """The executions of a serialized order, under the ids that the bridge reports them by."""
    broker_id = next(iter(order.get("brokerId") or ()), None)
    return [
        {
            "exec_id": str(event["id"]),
            "client_order_id": str(order.get("tag") or ""),
            "broker_order_id": None if broker_id is None else str(broker_id),
            "quantity": _number(abs(float(event["fillQuantity"]))),
            "price": _number(event["fillPrice"]),
            "fee": _number(event.get("orderFeeAmount") or 0),
            "fee_currency": str(event.get("orderFeeCurrency") or "USD"),
            "executed_at": moment_text(datetime.fromtimestamp(float(event["time"]), UTC)),
        }
        for event in order["events"]
        if float(event.get("fillQuantity") or 0)
    ]


def _number(value: Any) -> str | None:
    """Write a float as the shortest decimal that it stands for."""
    return number_text(Decimal(repr(float(value))))
