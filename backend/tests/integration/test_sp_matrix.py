"""Every state meets every event: the whole table of what becomes of an order, stated and run."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sp_world import World, desk, new_id, stamp

__all__ = ["desk"]

STATES = (
    *("new", "denied", "submitting", "submit_unknown", "submitted", "accepted"),
    *("partially_filled", "filled", "pending_replace", "pending_cancel", "canceled", "rejected"),
    *("expired", "lost"),
)
LATER_S = 60.0

# Of an order of 10 at 100, which has filled 4 where it is partially filled and 10 where it is
# filled; what is pending asks for 20. The first fill of an order is always `x`.
EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "submitted": ("order_event", {"status": "submitted"}),
    "accepted": ("order_event", {"status": "accepted"}),
    "canceled": ("order_event", {"status": "canceled", "reason": "R"}),
    "rejected": ("order_event", {"status": "rejected", "reason": "R"}),
    "expired": ("order_event", {"status": "expired"}),
    "gap": ("order_event", {"status": "filled"}),
    "part": ("order_event", {"status": "partially_filled", "fill_quantity": "1"}),
    "rest": ("order_event", {"status": "filled", "fill_quantity": "rest"}),
    "overfill": ("order_event", {"status": "filled", "fill_quantity": "11"}),
    "replaced": ("order_event", {"status": "replaced", "quantity": "20"}),
    "replace_rejected": ("replace_rejected", {"reason": "R"}),
    "cancel_rejected": ("cancel_rejected", {"reason": "R"}),
    "place_refused": ("command_rejected", {"command": "PlaceOrder", "reason": "R"}),
    "cancel_refused": ("command_rejected", {"command": "CancelOrder", "reason": "R"}),
    "replace_refused": ("command_rejected", {"command": "ReplaceOrder", "reason": "R"}),
    "correction": (
        "order_event",
        {
            **{"status": "partially_filled", "fill_quantity": "3", "exec_id": "x"},
            "exec_revision": 1,
        },
    ),
    "bust": ("bust", {"exec_id": "x"}),
    "commission": ("commission", {"exec_id": "x", "fee": "2", "fee_currency": "USD"}),
    "state_accepted": ("order_state", {"known": True, "status": "accepted"}),
    "state_canceled": ("order_state", {"known": True, "status": "canceled"}),
    "state_ambiguous": ("order_state", {"known": True, "reason": "AMBIGUOUS"}),
    "absent": ("order_state", {"known": False}),
    "unreadable": ("order_event", {"status": "done"}),
    "unheard_of": ("dance", {}),
}

# What becomes of it: per event the outcome and the state after it (`=`: as before), with the states
# in which that is so. Reviewed by hand; a change of this table is a change of the state machine.
TABLE = """
submitted
  applied submitted: submitting submit_unknown
  illegal =: denied
  stale =: new submitted accepted partially_filled filled pending_replace pending_cancel canceled
  stale =: rejected expired lost
accepted
  applied accepted: new submitting submit_unknown submitted lost
  illegal =: denied
  stale =: accepted partially_filled filled pending_replace pending_cancel canceled rejected
  stale =: expired
canceled
  applied canceled: new submitting submit_unknown submitted accepted partially_filled
  applied canceled: pending_replace pending_cancel lost
  illegal =: denied
  stale =: filled canceled rejected expired
rejected
  applied canceled: partially_filled
  applied rejected: new submitting submit_unknown submitted accepted pending_replace pending_cancel
  applied rejected: lost
  illegal =: denied
  stale =: filled canceled rejected expired
expired
  applied expired: submitting submit_unknown submitted accepted partially_filled pending_replace
  applied expired: pending_cancel lost
  illegal =: new denied
  stale =: filled canceled rejected expired
gap
  applied =: accepted partially_filled pending_replace pending_cancel
  applied accepted: new submitting submit_unknown submitted lost
  illegal =: denied
  stale =: filled canceled rejected expired
part
  applied =: partially_filled filled pending_replace pending_cancel canceled rejected expired
  applied partially_filled: new submitting submit_unknown submitted accepted lost
  illegal =: denied
rest
  applied filled: new submitting submit_unknown submitted accepted partially_filled pending_replace
  applied filled: filled pending_cancel canceled rejected expired lost
  illegal =: denied
overfill
  applied =: pending_replace
  applied filled: new submitting submit_unknown submitted accepted partially_filled filled
  applied filled: pending_cancel canceled rejected expired lost
  illegal =: denied
replaced
  applied =: accepted partially_filled pending_cancel
  applied accepted: new submitting submit_unknown submitted pending_replace lost
  applied partially_filled: filled
  illegal =: denied
  stale =: canceled rejected expired
replace_rejected
  applied accepted: pending_replace
  stale =: new denied submitting submit_unknown submitted accepted partially_filled filled
  stale =: pending_cancel canceled rejected expired lost
cancel_rejected
  applied accepted: pending_cancel
  stale =: new denied submitting submit_unknown submitted accepted partially_filled filled
  stale =: pending_replace canceled rejected expired lost
place_refused
  applied rejected: submitting submit_unknown submitted
  stale =: new denied accepted partially_filled filled pending_replace pending_cancel canceled
  stale =: rejected expired lost
cancel_refused
  applied accepted: pending_cancel
  stale =: new denied submitting submit_unknown submitted accepted partially_filled filled
  stale =: pending_replace canceled rejected expired lost
replace_refused
  applied accepted: pending_replace
  stale =: new denied submitting submit_unknown submitted accepted partially_filled filled
  stale =: pending_cancel canceled rejected expired lost
correction
  applied =: partially_filled pending_replace pending_cancel canceled rejected expired
  applied partially_filled: new submitting submit_unknown submitted accepted filled lost
  illegal =: denied
bust
  applied accepted: partially_filled filled
  illegal =: new denied submitting submit_unknown submitted accepted pending_replace pending_cancel
  illegal =: canceled rejected expired lost
commission
  applied =: partially_filled filled
  illegal =: new denied submitting submit_unknown submitted accepted pending_replace pending_cancel
  illegal =: canceled rejected expired lost
state_accepted
  applied =: pending_cancel
  applied accepted: new submitting submit_unknown submitted lost
  illegal =: denied
  stale =: accepted partially_filled filled pending_replace canceled rejected expired
state_canceled
  applied canceled: new submitting submit_unknown submitted accepted partially_filled
  applied canceled: pending_replace pending_cancel lost
  illegal =: denied
  stale =: filled canceled rejected expired
state_ambiguous
  applied lost: submit_unknown submitted accepted partially_filled pending_replace pending_cancel
  stale =: new denied submitting filled canceled rejected expired lost
absent
  applied =: submit_unknown
  applied submit_unknown: submitting submitted
  illegal lost: accepted partially_filled pending_replace pending_cancel
  stale =: new denied filled canceled rejected expired lost
unreadable
  invalid =: new denied submitting submit_unknown submitted accepted partially_filled filled
  invalid =: pending_replace pending_cancel canceled rejected expired lost
unheard_of
  invalid =: new denied submitting submit_unknown submitted accepted partially_filled filled
  invalid =: pending_replace pending_cancel canceled rejected expired lost
"""


def _expected() -> dict[tuple[str, str], tuple[str, str]]:
    """Read the table: event, then lines of `outcome after: states`."""
    cells: dict[tuple[str, str], tuple[str, str]] = {}
    event = ""
    for line in TABLE.strip().splitlines():
        if not line.startswith(" "):
            event = line
            continue
        result, _, names = line.partition(":")
        outcome, after = result.split()
        for name in names.split():
            assert (event, name) not in cells, (event, name)
            cells[event, name] = (outcome, name if after == "=" else after)
    return cells


EXPECTED = _expected()


async def _reach(desk: World, state: str) -> asyncpg.Record:
    """Bring a new order into a state as it gets there in life."""
    if state == "denied":
        return await desk.place(side="sell", quantity=Decimal(1001))
    order = await desk.place()
    if state == "new":
        return order
    (send,) = await desk.begin()
    if state != "submitting":
        await desk.finish(send, "unknown" if state == "submit_unknown" else "accepted")
    if state in ("submitting", "submit_unknown", "submitted"):
        return order
    if state == "lost":
        await desk.report(order, "order_state", known=True, reason="AMBIGUOUS")
        return order
    await desk.venue(order, "accepted")
    if state in ("partially_filled", "filled"):
        quantity = {"partially_filled": "4", "filled": "10"}[state]
        await desk.fill(order, quantity, exec_id=f"x-{order['order_id']}", status=state)
    elif state in ("canceled", "rejected", "expired"):
        await desk.venue(order, state, reason="R")
    elif state == "pending_cancel":
        await desk.cancel(order["order_id"])
        await desk.send()
    elif state == "pending_replace":
        await desk.replace(order["order_id"], quantity=Decimal(20))
        await desk.send()
    return order


async def _meet(desk: World, order: asyncpg.Record, event: str) -> tuple[str, str]:
    """Report an event about an order; return the outcome and the state after it."""
    kind, fields = EVENTS[event]
    fields = {"broker_order_id": "B-1", "occurred_at": stamp(LATER_S), **fields}
    if "fill_quantity" in fields:
        row = await desk.order(order["order_id"])
        if fields["fill_quantity"] == "rest":
            rest = row["quantity"] - row["cum_quantity"]
            fields["fill_quantity"] = str(rest or 1)
        fields = {"exec_id": new_id(), "fill_price": "100", "fee": "1", **fields}
    if fields.get("exec_id") == "x":
        fields["exec_id"] = f"x-{order['order_id']}"
    if event == "absent":
        del fields["broker_order_id"]
    outcome = await desk.report(order, kind, **fields)
    return outcome, await desk.status(order["order_id"])


def test_the_table_has_a_cell_for_every_pair() -> None:
    pairs = set(itertools.product(EVENTS, STATES))
    assert set(EXPECTED) == pairs
    print(f"{len(pairs)} pairs of {len(EVENTS)} events and {len(STATES)} states")  # noqa: T201


@pytest.mark.parametrize("event", EVENTS)
async def test_every_state_meets_the_event_as_the_table_says(desk: World, event: str) -> None:
    await desk.acquire()
    for state in STATES:
        order = await _reach(desk, state)
        assert await desk.status(order["order_id"]) == state
        met = await _meet(desk, order, event)
        assert met == EXPECTED.get((event, state)), (event, state)
        await desk.root.execute("TRUNCATE app.events_outbox, app.outbox_parked")
        await desk.assert_whole()
