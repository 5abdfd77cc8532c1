"""What QuantConnect's list of orders says, and that rubbish and refusals say nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from app.services.qc_executions import Page, QuantConnectExecutions

EVENT = {
    "id": "L-1-7-2",
    "time": 1767625200.25,
    "fillPrice": 20.01,
    "fillQuantity": -3.0,
    "orderFeeAmount": 1.0,
    "orderFeeCurrency": "USD",
}
ORDER = {"brokerId": ["7"], "tag": "mine", "events": [{**EVENT, "fillQuantity": 0.0}, EVENT]}


async def _page(answer: Any, status: int = 200) -> Page | None:
    text = answer if isinstance(answer, str) else json.dumps(answer)

    def answering(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        assert asked == {"projectId": 1001, "start": 100, "end": 200}
        return httpx.Response(status, text=text)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answering))
    venue = QuantConnectExecutions(url="http://qc/api/v2", user_id="1", token="t", client=client)
    async with client:
        return await venue.page("1001", 100)


async def test_fills_carry_the_ids_and_decimals_that_the_bridge_reports() -> None:
    page = await _page({"success": True, "orders": [ORDER], "length": 101})
    assert page is not None
    assert page.length == 101
    assert page.fills == [
        {
            "exec_id": "L-1-7-2",
            "client_order_id": "mine",
            "broker_order_id": "7",
            "quantity": "3",
            "price": "20.01",
            "fee": "1",
            "fee_currency": "USD",
            "executed_at": "2026-01-05T15:00:00.250000Z",
        }
    ]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        {"success": False, "errors": ["no"]},
        {"success": True},
        {"success": True, "orders": None, "length": 0},
        {"success": True, "orders": [7], "length": 1},
        {"success": True, "orders": [{"events": [{**EVENT, "fillPrice": "x"}]}], "length": 1},
        {"success": True, "orders": [{"events": [{**EVENT, "time": 1e300}]}], "length": 1},
        {"success": True, "orders": [], "length": "many"},
    ],
    ids=lambda answer: str(answer)[:60],
)
async def test_an_answer_that_is_not_understood_is_unknown_and_not_empty(answer: Any) -> None:
    assert await _page(answer) is None


async def test_a_venue_that_is_not_there_is_unknown() -> None:
    venue = QuantConnectExecutions(url="http://127.0.0.1:1/", user_id="1", token="t")
    assert await venue.page("1001", 0) is None
    await venue.close()
