"""Replaces and stops by the real paper process: told once, and kept over kill -9."""

from datetime import UTC, datetime, timedelta
from typing import Any

from paper_world import Json, PaperProcess, Receiver, paper, receiver, until

from app.services.qc_client import moment_text

__all__ = ["paper", "receiver"]

RESTING = {"order_type": "limit", "limit_price": "15"}


def told(receiver: Receiver, name: str, status: str) -> Json:
    def found() -> list[Json]:
        return [event for event in receiver.events(name) if event.get("status") == status]

    events: list[Json] = until(found, f"{status} of {name}")
    return events[0]


def work(paper: PaperProcess, receiver: Receiver, name: str, **fields: Any) -> None:
    paper.hold("AAPL", "20.00")
    paper.place(name, **fields)
    told(receiver, name, "accepted")


def test_a_replace_and_a_triggered_stop_outlive_a_kill(
    paper: PaperProcess, receiver: Receiver
) -> None:
    work(paper, receiver, "limit", **RESTING)
    work(paper, receiver, "stop", order_type="stop", stop_price="25")
    paper.send("ReplaceOrder", client_order_id="limit", quantity="4", limit_price="16")
    paper.send("ReplaceOrder", client_order_id="stop", stop_price="24")
    assert told(receiver, "limit", "replaced")["limit_price"] == "16"
    assert told(receiver, "stop", "replaced")["stop_price"] == "24"
    paper.kill()
    paper.start()
    paper.send("QueryOrder", client_order_id="limit")
    states = until(
        lambda: [e for e in receiver.events("limit") if e["kind"] == "order_state"], "the state"
    )
    assert [states[-1][name] for name in ("status", "quantity", "limit_price")] == [
        "accepted",
        "4",
        "16",
    ]
    (order,) = paper.orders("limit")
    assert [order["quantity"], order["limit_price"], order["status"]] == ["4", "16", "accepted"]
    # One price triggers it, and the next, which is the same while it is held, fills it.
    paper.hold("AAPL", "24.00")
    assert told(receiver, "stop", "filled")["fill_price"] == "24"
    sequences = [event["sequence"] for event in receiver.events()]
    assert sequences == list(range(1, len(sequences) + 1))


def test_an_order_that_is_good_until_a_moment_ends_at_the_venue_also_after_a_kill(
    paper: PaperProcess, receiver: Receiver
) -> None:
    until_moment = datetime.now(UTC) + timedelta(seconds=4)
    fields = {"time_in_force": "gtd", "expires_at": moment_text(until_moment)}
    work(paper, receiver, "short", **RESTING, **fields)
    paper.kill()
    paper.start()
    event = told(receiver, "short", "expired")
    assert event["occurred_at"] >= moment_text(until_moment)
    assert paper.orders("short")[0]["status"] == "expired"


def test_a_replace_of_a_partly_filled_order_keeps_what_was_filled(
    paper: PaperProcess, receiver: Receiver
) -> None:
    paper.hold("AAPL", "20.00")
    paper.place("large", symbol="AAPL", quantity="40000", order_type="limit", limit_price="0.01")
    told(receiver, "large", "accepted")
    paper.send("ReplaceOrder", client_order_id="large", quantity="100", limit_price="21")
    until(lambda: receiver.statuses("large")[-1:] == ["filled"], "the fill")
    assert "replaced" in receiver.statuses("large")
    assert paper.orders("large")[0]["cum_quantity"] == "100"
    paper.send("ReplaceOrder", client_order_id="large", quantity="200")
    refused = until(
        lambda: [e for e in receiver.events("large") if e["kind"] == "replace_rejected"],
        "the refusal",
    )
    assert refused[0]["reason"] == "ORDER_CLOSED"
