"""The envelope of the webhook: strict itself, and open for whatever kind of event is in it."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.models.bridge import BridgeBatch

MOMENT = "2026-01-05T15:00:00.000000Z"
EXTERNAL = {"broker_order_id": "9", "symbol": "AAPL", "side": "buy", "order_type": "stop_limit"}


def batch(*events: dict[str, Any], **fields: Any) -> str:
    head = {"version": 1, "source": "qc:1001", "deploy_id": "L-1", "epoch": 1, "sent_at": MOMENT}
    return json.dumps({**head, "events": list(events), **fields})


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "order_event", "status": "replaced", "quantity": "4", "limit_price": "16"},
        {"kind": "replace_rejected", "client_order_id": "one", "reason": "ORDER_CLOSED"},
        {"kind": "order_event", "status": "filled", "exec_id": "e", "exec_revision": 2},
        {"kind": "bust", "exec_id": "e"},
        {"kind": "commission", "exec_id": "e", "fee": "1.25", "fee_currency": "USD"},
        {"kind": "order_event", "client_order_id": None, "external": EXTERNAL},
        {"kind": "of tomorrow", "anything": [1, {"two": None}]},
    ],
)
def test_an_event_of_any_kind_is_kept_as_it_is(event: dict[str, Any]) -> None:
    assert BridgeBatch.model_validate_json(batch(event)).events == [event]


@pytest.mark.parametrize(
    "fields",
    [{"version": 2}, {"source": "ib:1"}, {"epoch": -1}, {"sent_at": "today"}, {"events": {}}],
)
def test_an_envelope_that_is_not_ours_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BridgeBatch.model_validate_json(batch(**fields))
