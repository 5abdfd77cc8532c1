"""Changed orders, stops and ends at a moment, through the bridge on LEAN's manners."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from lean_world import Lean, TaglessTransactions, lean
from paper_world import PROJECT, make_command

from app.services.qc_client import moment_text

__all__ = ["lean"]

RESTING = {"order_type": "limit", "limit_price": "50"}


def last(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return [event for event in events if event["kind"] == kind][-1]


def test_a_replace_is_told_with_the_values_that_work_now(lean: Lean) -> None:
    lean.deploy()
    lean.place("one", **RESTING)
    events = lean.send("ReplaceOrder", client_order_id="one", quantity="7", limit_price=None)
    told = last(events, "order_event")
    assert [told["status"], told["quantity"], told["limit_price"]] == ["replaced", "7", "50"]
    state = last(lean.send("QueryOrder", client_order_id="one"), "order_state")
    assert [state["status"], state["quantity"], state["limit_price"]] == ["accepted", "7", "50"]


def test_a_replace_that_reaches_the_market_is_told_before_its_fill(lean: Lean) -> None:
    lean.deploy()
    lean.place("one", **RESTING)
    events = lean.send("ReplaceOrder", client_order_id="one", limit_price="95")
    statuses = [event["status"] for event in events if event["client_order_id"] == "one"]
    assert [s for s, after in pairwise([*statuses, ""]) if s != after][-2:] == [
        "replaced",
        "filled",
    ]
    assert last(events, "order_event")["fill_price"] == "90"


def test_a_replace_that_the_broker_refuses_is_told_although_lean_has_no_event(lean: Lean) -> None:
    lean.deploy()
    lean.place("one", **RESTING)
    events = lean.send("ReplaceOrder", client_order_id="one", quantity="99999999")
    told = last(events, "replace_rejected")
    assert "BROKERAGE_FAILED_TO_UPDATE_ORDER insufficient buying power" in told["reason"]
    again = lean.send("QueryOrder", client_order_id="one")
    assert last(again, "order_state")["quantity"] == "10"
    assert [e for e in again if e["kind"] == "replace_rejected"] in ([], [told])


def test_a_closed_and_an_unknown_order_are_not_replaced(lean: Lean) -> None:
    lean.deploy()
    lean.place("done")
    events = lean.send("ReplaceOrder", client_order_id="done", quantity="20")
    assert last(events, "replace_rejected")["reason"] == "ORDER_CLOSED"
    assert last(events, "order_state")["status"] == "filled"
    events = lean.send("ReplaceOrder", client_order_id="nobody", quantity="20")
    assert last(events, "replace_rejected")["reason"] == "UNKNOWN_ORDER"
    assert last(events, "order_state")["known"] is False


@pytest.mark.parametrize(
    "values",
    [{}, {"quantity": "0"}, {"quantity": "-5"}, {"limit_price": "x"}, {"stop_price": "1e9"}],
)
def test_a_replace_without_a_usable_value_is_refused(lean: Lean, values: dict[str, Any]) -> None:
    lean.deploy()
    lean.place("one", **RESTING)
    refusal = last(lean.send("ReplaceOrder", client_order_id="one", **values), "command_rejected")
    assert [refusal["command"], refusal["reason"]] == ["ReplaceOrder", "INVALID"]


def test_a_replace_that_is_delivered_again_does_not_undo_a_later_one(lean: Lean) -> None:
    lean.deploy()
    lean.place("one", **RESTING)
    lean.send("ReplaceOrder", client_order_id="one", limit_price="40", id="first")
    lean.send("ReplaceOrder", client_order_id="one", limit_price="45", id="second")
    lean.send("ReplaceOrder", client_order_id="one", limit_price="45", id="second")
    lean.send("ReplaceOrder", client_order_id="one", limit_price="40", id="first")
    (order,) = lean.venue.orders()
    assert order.limit_price == 45
    assert [event.status for event in order.events] == ["accepted", "replaced", "replaced"]


def test_an_order_that_was_replaced_keeps_its_values_over_a_new_deployment(lean: Lean) -> None:
    lean.deploy()
    lean.place("one", **RESTING)
    lean.send("ReplaceOrder", client_order_id="one", quantity="4", limit_price="49.5")
    lean.deploy(TaglessTransactions)
    state = last(lean.send("QueryOrder", client_order_id="one"), "order_state")
    assert [state["quantity"], state["limit_price"]] == ["4", "49.5"]
    events = lean.send("ReplaceOrder", client_order_id="one", quantity="5")
    assert last(events, "order_event")["quantity"] == "5"


def test_a_replace_nobody_heard_of_is_told_by_the_state_after_a_restart(lean: Lean) -> None:
    lean.deploy()
    lean.place("one", **RESTING)
    (order,) = lean.venue.orders()
    replaced = {"quantity": Decimal(3), "limit_price": None, "stop_price": None}
    assert lean.venue.replace(order.order_id, **replaced) is None
    lean.venue.take_events(PROJECT)
    lean.deploy(TaglessTransactions)
    assert last(lean.send("QueryOrder", client_order_id="one"), "order_state")["quantity"] == "3"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"order_type": "stop", "stop_price": "95"}, "stop"),
        ({"order_type": "stop_limit", "stop_price": "95", "limit_price": "96"}, "stop_limit"),
    ],
)
def test_a_stop_waits_for_its_price_and_then_trades(
    lean: Lean, fields: dict[str, str], kind: str
) -> None:
    lean.deploy()
    assert [event["status"] for event in lean.place("one", **fields)] == ["accepted"]
    (order,) = lean.venue.orders()
    assert [order.order_type, order.status] == [kind, "accepted"]
    events = lean.send("ReplaceOrder", client_order_id="one", stop_price="94")
    assert last(events, "order_event")["stop_price"] == "94"
    for _ in range(2):
        lean.venue.hold("AAPL", Decimal("94.50"))
    lean.deployment.step(ticked=False)
    fill = last(lean.post.events(), "order_event")
    assert [fill["status"], fill["fill_price"]] == ["filled", "94.5"]


def test_an_order_ends_at_its_moment_where_lean_would_let_it_live(lean: Lean) -> None:
    lean.deploy()
    until = moment_text(datetime.now(UTC) + timedelta(seconds=0.2))
    lean.place("one", **RESTING, time_in_force="gtd", expires_at=until)
    (order,) = lean.venue.orders()
    assert order.expires_at == datetime.fromisoformat(until)
    lean.algorithm._end_orders.__globals__["EXPIRY_GRACE"] = timedelta(0)
    while moment_text(datetime.now(UTC)) <= until:
        lean.deployment.step(ticked=False)
    lean.deployment.step(ticked=False)
    lean.deployment.step(ticked=False)
    assert order.status == "canceled"
    assert last(lean.post.events(), "order_event")["status"] == "expired"
    assert lean.algorithm._good_until == {}


def test_an_order_from_elsewhere_is_described_so_that_it_can_be_booked(lean: Lean) -> None:
    lean.deploy()
    placed = {"project_id": PROJECT, "tag": "", "symbol": "AAPL", "side": "sell"}
    values = {"quantity": Decimal(2), "limit_price": Decimal(95), "stop_price": Decimal(80)}
    lean.venue.place(**placed, **values, time_in_force="gtc")
    lean.deployment.step(ticked=False)
    (event,) = lean.post.events()
    assert event["client_order_id"] is None
    assert event["external"] == {
        "broker_order_id": "1",
        "symbol": "AAPL",
        "side": "sell",
        "order_type": "stop_limit",
        "quantity": "2",
        "limit_price": "95",
        "stop_price": "80",
    }


def test_a_replace_is_signed_like_any_command(lean: Lean) -> None:
    lean.deploy()
    lean.place("one", **RESTING)
    forged = make_command("ReplaceOrder", key="another", client_order_id="one", quantity="1")
    assert lean.algorithm.receive("ReplaceOrder", forged) is False
    assert lean.venue.orders()[0].quantity == 10
