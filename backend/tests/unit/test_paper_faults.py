"""What the paper venue does wrong when it is told to, and that the bridge under it copes."""

from decimal import Decimal
from typing import Any

import pytest
from lean_world import Lean, lean
from paper_world import PROJECT
from pydantic import ValidationError

from paper import mishaps
from paper.faults import BadFaults, Fault, Faults, read_standing
from paper.settings import read_demo
from paper.venue import Venue

__all__ = ["lean"]


def _told(events: list[dict[str, Any]]) -> list[str]:
    return [event["status"] for event in events if event["kind"] == "order_event"]


def _filled(lean: Lean, name: str) -> Decimal:
    """What was executed of an order, by all that was posted, each execution once."""
    fills = {
        event["exec_id"]: Decimal(event["fill_quantity"])
        for event in lean.post.events()
        if event["client_order_id"] == name and event.get("fill_quantity")
    }
    return sum(fills.values(), Decimal(0))


def test_a_fault_hits_by_order_account_and_count() -> None:
    faults = Faults()
    faults.add(Fault(kind="reject", client_order_id="no-.*", project_id=1001, count=2))
    assert faults.take("reject", ["yes"], 1001) is None
    assert faults.take("reject", ["no-1"], 1002) is None
    assert faults.take("delay", ["no-1"], 1001) is None
    assert faults.take("reject", ["yes", "no-1"], 1001) is not None
    assert faults.take("reject", ["no-2"], 1001) is not None
    assert faults.take("reject", ["no-3"], 1001) is None
    assert faults.waiting() == []


def test_a_probability_is_seeded_and_near_what_was_asked() -> None:
    def hits(seed: int) -> list[bool]:
        faults = Faults(read_standing("late_fill=0.3"), seed)
        return [faults.take("late_fill", ["a"], 1) is not None for _ in range(1_000)]

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert 240 < sum(hits(1)) < 360


def test_the_setting_names_kinds_probabilities_and_accounts() -> None:
    first, second = read_standing(" late_fill=0.05 ,lost_webhook=1@1001,")
    assert (first.kind, first.probability, first.project_id) == ("late_fill", 0.05, None)
    assert (second.kind, second.project_id, second.count) == ("lost_webhook", 1001, None)
    assert read_standing("") == []


@pytest.mark.parametrize("text", ["meteor=0.1", "delay", "delay=", "delay=x", "delay=0.1@", "=1"])
def test_a_setting_that_cannot_be_read_says_how_it_is_written(text: str) -> None:
    with pytest.raises(BadFaults, match=r"late_fill=0\.05"):
        read_standing(text)


@pytest.mark.parametrize("text", ["delay=0", "delay=1.5", "delay=2@1"])
def test_a_probability_outside_of_0_to_1_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        read_standing(text)


def test_a_fill_that_lean_reports_twice_is_told_once(lean: Lean) -> None:
    lean.deploy()
    lean.faults.add(Fault(kind="duplicate_fill"))
    assert _told(lean.place("twice")) == ["accepted", "filled"]
    assert _filled(lean, "twice") == 10


def test_a_fill_that_is_told_again_under_another_id_is_not_in_the_venues_books(lean: Lean) -> None:
    lean.deploy()
    account = lean.venue.book.accounts[PROJECT]
    before = account.cash
    lean.faults.add(Fault(kind="duplicate_fill_new_id"))
    lean.place("again")
    lean.deployment.step(ticked=False)
    fills = {e["exec_id"]: e for e in lean.post.events() if e.get("fill_quantity")}
    first, second = fills.values()
    told = ("client_order_id", "status", "fill_quantity", "fill_price", "fee_currency")
    assert [first[name] for name in told] == [second[name] for name in told]
    assert Decimal(first["fee"]) == Decimal(second["fee"]) == 1
    assert first["event_id"] != second["event_id"]
    assert account.positions["AAPL"].quantity == 10
    assert account.cash == before - 10 * Decimal(90) - 1
    assert lean.algorithm._heartbeat()["positions"][0]["quantity"] == "10"


def test_a_fill_before_its_acknowledgement_is_told_and_the_state_does_not_go_back(
    lean: Lean,
) -> None:
    lean.deploy()
    lean.faults.add(Fault(kind="fill_before_ack"))
    assert _told(lean.place("hasty")) == ["filled", "accepted"]
    (state,) = (e for e in lean.send("QueryOrder", client_order_id="hasty"))
    assert (state["status"], len(state["executions"])) == ("filled", 1)


def test_a_lost_event_is_found_by_asking(lean: Lean) -> None:
    lean.deploy()
    lean.faults.add(Fault(kind="lost_event", count=2))
    assert lean.place("silent") == []
    told = lean.send("QueryOrder", client_order_id="silent")
    assert [event["kind"] for event in told] == ["order_event", "order_event", "order_state"]
    assert told[-1]["status"] == "filled"
    assert _filled(lean, "silent") == 10


def test_a_fill_after_the_cancel_is_told(lean: Lean) -> None:
    lean.deploy()
    lean.place("late", order_type="limit", limit_price="80")
    lean.faults.add(Fault(kind="late_fill"))
    assert _told(lean.send("CancelOrder", client_order_id="late")) == ["canceled", "filled"]
    assert _filled(lean, "late") == 10
    assert lean.venue.book.accounts[PROJECT].positions["AAPL"].quantity == 10


def test_half_is_filled_and_the_rest_canceled(lean: Lean) -> None:
    lean.deploy()
    lean.faults.add(Fault(kind="partial_then_cancel"))
    told = _told(lean.place("half"))
    assert told == ["accepted", "partially_filled", "canceled"]
    assert _filled(lean, "half") == 5


def test_an_order_from_elsewhere_is_told_as_external(lean: Lean) -> None:
    lean.deploy()
    lean.faults.add(Fault(kind="external_order"))
    foreign = [event for event in lean.place("ours") if event["client_order_id"] is None]
    assert foreign
    assert foreign[0]["external"]["symbol"] == "AAPL"
    assert _filled(lean, "ours") == 10


def test_a_position_that_drifts_shows_in_the_heartbeat_and_survives_a_restart(lean: Lean) -> None:
    lean.deploy()
    lean.faults.add(Fault(kind="position_drift"))
    lean.place("drifts")
    (position,) = lean.algorithm._heartbeat()["positions"]
    assert position["quantity"] == "11"
    drift = next(r for r in mishaps.drift(lean.venue.book, PROJECT, "MSFT", Decimal(-2)))
    lean.venue.book.apply(drift)
    assert lean.venue.book.accounts[PROJECT].positions["MSFT"].quantity == -4


def test_a_corrected_fill_costs_a_tick_more_in_the_venues_own_books(lean: Lean) -> None:
    lean.deploy()
    lean.faults.add(Fault(kind="correction"))
    account = lean.venue.book.accounts[PROJECT]
    before = account.cash
    fill, correction = [e for e in lean.place("dearer") if e.get("fill_quantity")]
    assert (fill["fill_price"], correction["fill_price"]) == ("90", "90.01")
    assert (correction["exec_id"], correction["exec_revision"]) == (fill["exec_id"], 1)
    assert account.cash == before - 10 * Decimal("90.01") - 1
    beat = lean.algorithm._heartbeat()
    assert beat["cash"] == [{"currency": "USD", "amount": str(account.cash.normalize())}]
    assert beat["positions"][0]["average_price"] == "90.01"


def test_a_busted_fill_is_gone_from_the_venues_books_and_its_order_ends(lean: Lean) -> None:
    lean.deploy()
    account = lean.venue.book.accounts[PROJECT]
    before = account.cash
    lean.faults.add(Fault(kind="bust"))
    told = lean.place("taken-back")
    lean.deployment.step(ticked=False)
    told = [e for e in lean.post.events() if e["client_order_id"] == "taken-back"]
    assert [e.get("status", e["kind"]) for e in told] == ["accepted", "filled", "bust", "canceled"]
    assert told[2]["exec_id"] == told[1]["exec_id"]
    (order,) = lean.venue.orders(PROJECT)
    assert (order.status, order.filled, order.fees) == ("canceled", 0, 0)
    assert (account.cash, account.positions["AAPL"].quantity) == (before, 0)


def test_a_correction_is_told_once_whatever_restarts(lean: Lean) -> None:
    lean.deploy()
    lean.faults.add(Fault(kind="correction"))
    lean.place("early")
    (order,) = lean.venue.orders(PROJECT)
    # What a kill between the journal and the feed leaves: restated, and nobody was told.
    lean.venue._keep(
        mishaps.restate(lean.venue.book, order.events[1], order.filled, Decimal(91), order.at)
    )
    lean.deploy()
    for _ in range(3):
        lean.deployment.step(ticked=False)
    told = {e["sequence"]: e["fill_price"] for e in lean.post.events() if e.get("exec_revision")}
    assert list(told.values()) == ["90.01", "91"]
    lean.venue.close()
    again = Venue(lean.settings, read_demo(lean.settings.demo_config), lean.faults)
    assert [e.price for e in again.book.restated[PROJECT]] == [Decimal("90.01"), Decimal(91)]
    assert again.book.accounts[PROJECT].cash == lean.venue.book.accounts[PROJECT].cash
    lean.venue = again


def test_a_change_that_was_taken_twice_leaves_two_orders_under_one_name(lean: Lean) -> None:
    lean.deploy()
    lean.place("double", order_type="limit", limit_price="80")
    lean.faults.add(Fault(kind="duplicate_live_on_modify"))
    change = {"quantity": "12", "limit_price": None, "stop_price": None}
    lean.send("ReplaceOrder", client_order_id="double", **change)
    live = [order for order in lean.venue.book.open.values() if order.tag == "double"]
    assert [order.quantity for order in live] == [Decimal(12), Decimal(12)]


def test_beyond_the_quota_nothing_is_posted_and_all_is_told_later(lean: Lean) -> None:
    lean.deploy()
    lean.post.is_open = False
    assert lean.place("queued") == []
    lean.post.is_open = True
    lean.deployment.step(ticked=False)
    assert _told(lean.post.events()) == ["accepted", "filled"]
