"""The bridge file that trades, run by the real paper process and spoken to over HTTP alone."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from paper_world import (
    PROJECT,
    Json,
    PaperProcess,
    Receiver,
    make_command,
    order_fields,
    paper,
    receiver,
    until,
)

from app.services.qc_client import moment_text
from paper.object_store import ObjectStore

__all__ = ["paper", "receiver"]

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def shared_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, shared_receiver: Receiver
) -> Iterator[PaperProcess]:
    """One process for the tests that look at nothing but their own orders."""
    paper = PaperProcess(tmp_path_factory.mktemp("paper"), shared_receiver)
    paper.start()
    yield paper
    paper.close()


def until_filled(receiver: Receiver, name: str) -> None:
    until(lambda: "filled" in receiver.statuses(name), f"the fill of {name}")


def until_told(receiver: Receiver, name: str) -> Json:
    """The fill of an order, told as its event, or by its state after a kill between two saves."""
    until(lambda: fills(receiver, name), f"the fill of {name}")
    return fills(receiver, name)[0]


def fills(receiver: Receiver, name: str) -> list[Json]:
    events = receiver.events(name)
    states = [event for event in events if event["kind"] == "order_state"]
    told = [event for event in events if "exec_id" in event]
    return told + [execution for state in states for execution in state.get("executions", [])]


def until_known(receiver: Receiver, name: str) -> None:
    until(lambda: [e for e in receiver.events(name) if e.get("known")], f"the state of {name}")


def test_a_market_order_is_accepted_then_filled_and_the_position_shows(
    paper: PaperProcess, receiver: Receiver
) -> None:
    paper.hold("AAPL", "90.50")
    paper.place("buy-1")
    until(lambda: receiver.statuses("buy-1") == ["accepted", "filled"], "the fill")
    fill = receiver.events("buy-1")[-1]
    assert (fill["fill_quantity"], fill["fill_price"], fill["fee"]) == ("10", "90.5", "1")
    (order,) = paper.orders("buy-1")
    assert [order["status"], order["cum_quantity"]] == ["filled", "10"]
    assert order["executions"][0]["exec_id"] == fill["exec_id"] == fill["event_id"]

    def holds() -> bool:
        beat = receiver.deliveries()[-1]["heartbeat"]
        return bool(
            beat["positions"] == [{"symbol": "AAPL", "quantity": "10", "average_price": "90.5"}]
            and beat["cash"] == [{"currency": "USD", "amount": "99094"}]
        )

    until(holds, "position and cash in the heartbeat")


def test_a_large_order_fills_in_parts_of_a_tick_and_pays_one_commission(
    shared: PaperProcess, shared_receiver: Receiver
) -> None:
    shared.hold("IBM", "10.00")
    shared.place("large", symbol="IBM", quantity="5000")
    until(lambda: shared_receiver.statuses("large")[-1:] == ["filled"], "the last part")
    parts = [event for event in shared_receiver.events("large") if "exec_id" in event]
    assert len(parts) > 1
    assert {event["status"] for event in parts[:-1]} == {"partially_filled"}
    assert sum(Decimal(event["fill_quantity"]) for event in parts) == 5000
    assert sum(Decimal(event["fee"]) for event in parts) == Decimal("25.00")
    assert len({event["exec_id"] for event in parts}) == len(parts)


def test_a_repeated_place_order_places_nothing_and_tells_the_state(
    shared: PaperProcess, shared_receiver: Receiver
) -> None:
    shared.place("twice")
    until(lambda: "filled" in shared_receiver.statuses("twice"), "the fill")
    shared.place("twice")
    state = until(
        lambda: [e for e in shared_receiver.events("twice") if e["kind"] == "order_state"],
        "the state",
    )
    assert [state[0]["known"], state[0]["status"]] == [True, "filled"]
    assert [fill["quantity"] for fill in state[0]["executions"]] == ["10"]
    assert len(shared.orders("twice")) == 1


def test_a_command_delivered_twice_by_the_queue_places_one_order(
    shared: PaperProcess, shared_receiver: Receiver
) -> None:
    shared.fault("duplicate_command", client_order_id="doubled")
    shared.place("doubled")
    until(
        lambda: [e for e in shared_receiver.events("doubled") if e["kind"] == "order_state"],
        "the state",
    )
    assert len(shared.orders("doubled")) == 1


def test_without_the_ledger_a_repeated_order_doubles_at_the_venue(
    tmp_path: Path, receiver: Receiver
) -> None:
    """The negative control: a crash test on top of this venue is able to fail."""
    paper = PaperProcess(tmp_path, receiver, BRIDGE_DEDUPE="off")
    paper.start()
    try:
        for _ in range(2):
            paper.place("twice")
        until(lambda: receiver.statuses("twice").count("filled") == 2, "two fills")
        assert len(paper.orders("twice")) == 2
    finally:
        paper.close()


def test_a_working_order_is_canceled_once_and_a_closed_one_is_not(
    shared: PaperProcess, shared_receiver: Receiver
) -> None:
    shared.hold("MSFT", "20.00")
    resting = {"symbol": "MSFT", "order_type": "limit", "limit_price": "15"}
    shared.place("rest", **resting)
    until(lambda: shared_receiver.statuses("rest") == ["accepted"], "the order to work")
    shared.send("CancelOrder", client_order_id="rest")
    until(lambda: shared_receiver.statuses("rest") == ["accepted", "canceled"], "the cancel")
    shared.send("CancelOrder", client_order_id="rest")
    rejected = until(
        lambda: [e for e in shared_receiver.events("rest") if e["kind"] == "cancel_rejected"],
        "the refusal",
    )
    assert rejected[0]["reason"] == "ORDER_CLOSED"
    shared.send("CancelOrder", client_order_id="nobody")
    unknown = until(lambda: shared_receiver.events("nobody"), "the refusal")
    assert [unknown[0]["kind"], unknown[0]["reason"]] == ["cancel_rejected", "UNKNOWN_ORDER"]


def test_a_query_tells_a_known_order_and_proves_an_unknown_one_absent(
    shared: PaperProcess, shared_receiver: Receiver
) -> None:
    shared.hold("MSFT", "20.00")
    shared.place("here", symbol="MSFT", order_type="limit", limit_price="15")
    until(lambda: shared_receiver.statuses("here"), "the order to work")
    before = moment_text(datetime.now(UTC))
    shared.send("QueryOrder", client_order_id="here")
    shared.send("QueryOrder", client_order_id="absent")
    (absent,) = until(lambda: shared_receiver.events("absent"), "the answer")
    assert absent["known"] is False
    assert absent["occurred_at"] > before
    (order,) = shared.orders("here")
    state = shared_receiver.events("here")[-1]
    assert [state["kind"], state["known"], state["status"]] == ["order_state", True, "accepted"]
    assert state["broker_order_id"] == order["broker_order_id"]


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("EXPIRED", {"valid_until": moment_text(datetime.now(UTC) - MINUTE)}),
        ("WRONG_EPOCH", {"epoch": 2}),
        ("UNKNOWN_SYMBOL", {"symbol": "TSLA"}),
        ("INVALID", {"quantity": "1e3"}),
        ("INVALID", {"quantity": "0"}),
        ("INVALID", {"order_type": "limit", "limit_price": None}),
        ("INVALID", {"order_type": "stop", "stop_price": None}),
        ("INVALID", {"order_type": "stop_limit", "stop_price": "5", "limit_price": None}),
        ("INVALID", {"order_type": "trailing", "stop_price": "5"}),
        ("INVALID", {"time_in_force": "gtd", "expires_at": None}),
        ("INVALID", {"time_in_force": "gtd", "expires_at": "2026-01-01T00:00:00.000000Z"}),
        ("INVALID", {"time_in_force": "ioc"}),
        ("INVALID", {"version": 2}),
    ],
)
def test_a_command_that_must_not_be_obeyed_is_refused_and_places_nothing(
    shared: PaperProcess, shared_receiver: Receiver, reason: str, changes: dict[str, object]
) -> None:
    name = f"refused-{uuid4().hex[:20]}"
    shared.place(name, **changes)
    (event,) = until(lambda: shared_receiver.events(name), "the refusal")
    assert [event["kind"], event["reason"]] == ["command_rejected", reason]
    assert event["command"] == "PlaceOrder"
    assert shared.orders(name) == []


def test_a_command_with_a_bad_signature_is_refused_without_repeating_its_words(
    paper: PaperProcess, receiver: Receiver
) -> None:
    forged = make_command("PlaceOrder", key="another key", **order_fields("victim"))
    changed = {**make_command("PlaceOrder", **order_fields("victim")), "quantity": "9999"}
    for command in (forged, changed):
        paper.call("live/commands/create", {"projectId": PROJECT, "command": command})
    until(lambda: len(receiver.events()) == 2, "both refusals")
    told = {(event["reason"], event["client_order_id"]) for event in receiver.events()}
    assert told == {("BAD_SIGNATURE", None)}
    assert paper.orders("victim") == []


def test_a_broken_command_does_not_stop_the_ones_behind_it(
    shared: PaperProcess, shared_receiver: Receiver
) -> None:
    for command in ({"$type": "PlaceOrder"}, {"$type": "Unheard"}, {"no": "type"}, {}):
        shared.call("live/commands/create", {"projectId": PROJECT, "command": command})
    shared.send("Acknowledge", sequence="not a number")
    shared.place("after")
    until(lambda: "filled" in shared_receiver.statuses("after"), "the order behind")


def test_events_repeat_until_acknowledged_and_then_no_more(
    paper: PaperProcess, receiver: Receiver
) -> None:
    paper.place("acked")
    until(lambda: "filled" in receiver.statuses("acked"), "the fill")

    def times() -> int:
        ids = [e["client_order_id"] for body in receiver.deliveries() for e in body["events"]]
        return ids.count("acked")

    until(lambda: times() >= 4, "a repetition of both events")
    paper.send("Acknowledge", sequence=receiver.events()[-1]["sequence"])
    time.sleep(0.5)  # the acknowledgment is on its way; nothing can be awaited for it
    settled, beats = times(), len(receiver.deliveries())
    until(lambda: len(receiver.deliveries()) > beats + 15, "three seconds of heartbeats")
    assert times() == settled


def test_repetitions_become_rarer_while_nobody_acknowledges(
    paper: PaperProcess, receiver: Receiver
) -> None:
    paper.place("alone")
    until(lambda: len(receiver.deliveries()) > 25, "five seconds of heartbeats")
    carrying = [b for b in receiver.deliveries() if any(b["events"])]
    assert 2 <= len(carrying) <= 6


def test_a_lost_a_doubled_and_a_late_webhook_all_arrive_in_the_end(
    paper: PaperProcess, receiver: Receiver
) -> None:
    for kind in ("lost_webhook", "duplicate_event", "out_of_order"):
        paper.fault(kind, client_order_id=kind)
        paper.place(kind)
    for kind in ("lost_webhook", "duplicate_event", "out_of_order"):
        until_filled(receiver, kind)
    sequences = [event["sequence"] for event in receiver.events()]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_backlog_leaves_in_bodies_below_64_kib(paper: PaperProcess, receiver: Receiver) -> None:
    for number in range(150):
        paper.send("QueryOrder", client_order_id=f"{'x' * 28}-{number:03d}")
        paper.send("CancelOrder", client_order_id=f"{'y' * 28}-{number:03d}")
    until(lambda: len(receiver.events()) == 450, "every answer")
    until(lambda: any(len(body["events"]) > 150 for body in receiver.deliveries()), "a repetition")
    assert max(receiver.sizes) <= 64 * 1024


def test_a_kill_between_command_and_webhook_loses_no_order_and_no_event(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Every webhook is lost until the kill; whatever the venue had is told after the restart."""
    paper = PaperProcess(tmp_path, receiver)
    paper.start()
    try:
        paper.fault("lost_webhook", count=1_000_000)
        paper.hold("MSFT", "20.00")
        paper.place("filled-1")
        paper.place("resting", symbol="MSFT", order_type="limit", limit_price="15")
        for _ in range(400):
            if paper.orders("filled-1") and paper.orders("resting"):
                break
            time.sleep(0.005)
        paper.kill()
        assert receiver.events() == []
        deploy_ids = {body["deploy_id"] for body in receiver.deliveries()}
        paper.start()
        until(lambda: receiver.statuses("filled-1") == ["accepted", "filled"], "the fill")
        until(lambda: receiver.statuses("resting") == ["accepted"], "the resting order")
        # The worker, left without a word, sends both again.
        paper.place("filled-1")
        paper.place("resting", symbol="MSFT", order_type="limit", limit_price="15")
        for name in ("filled-1", "resting"):
            until_known(receiver, name)
            assert len(paper.orders(name)) == 1
        paper.send("CancelOrder", client_order_id="resting")
        until(lambda: receiver.statuses("resting")[-1] == "canceled", "the cancel")
        sequences = [event["sequence"] for event in receiver.events()]
        assert sequences == list(range(1, len(sequences) + 1))
        assert {body["deploy_id"] for body in receiver.deliveries()} == deploy_ids
    finally:
        paper.close()


def test_many_kills_in_the_middle_of_many_orders_leave_each_order_once(
    tmp_path: Path, receiver: Receiver
) -> None:
    paper = PaperProcess(tmp_path, receiver)
    paper.start()
    try:
        paper.hold("MSFT", "20.00")
        names = [f"order-{round_}-{number}" for round_ in range(3) for number in range(12)]
        for round_ in range(3):
            for name in names[round_ * 12 : round_ * 12 + 12]:
                paper.place(name, symbol="MSFT", quantity="1")
            time.sleep(0.03 * round_)
            paper.kill()
            paper.start()
            paper.hold("MSFT", "20.00")
        # Sent again until each is known: what waited in memory at a kill is rightly lost.
        for name in names:
            paper.place(name, symbol="MSFT", quantity="1")
        told = [until_told(receiver, name)["exec_id"] for name in names]
        assert [len(paper.orders(name)) for name in names] == [1] * len(names)
        sequences = [event["sequence"] for event in receiver.events()]
        assert sequences == list(range(1, len(sequences) + 1))
        executions = (paper.control.get("/paper/v1/executions")).json()
        assert sorted(told) == sorted(fill["exec_id"] for fill in executions)
    finally:
        paper.close()


def test_a_fill_that_was_noted_but_not_yet_queued_is_told_after_a_kill(
    tmp_path: Path, receiver: Receiver
) -> None:
    """The trace of a kill between saving the ledger and saving the feed, laid by hand."""
    paper = PaperProcess(tmp_path, receiver)
    paper.start()
    try:
        paper.hold("MSFT", "20.00")
        paper.place("noted-1", symbol="MSFT", time_in_force="day")
        until_filled(receiver, "noted-1")
        paper.kill()
        store = ObjectStore(tmp_path / "state" / "object_store")
        feed = f"bridge/{PROJECT}/events"
        kept = json.loads(store.read(feed))
        assert [event["status"] for event in kept["events"]] == ["accepted", "filled"]
        store.save(feed, json.dumps({"sequence": 1, "events": kept["events"][:1]}))
        store.close()
        receiver.bodies.clear()
        paper.start()
        (execution,) = paper.orders("noted-1")[0]["executions"]
        assert until_told(receiver, "noted-1")["exec_id"] == execution["exec_id"]
    finally:
        paper.close()


def test_an_intent_that_a_crash_left_is_proved_absent_and_may_be_sent_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    """The trace of a kill between the saved intent and the venue, laid by hand."""
    store = ObjectStore(tmp_path / "state" / "object_store")
    intent = (
        '{"at": "2026-01-01T00:00:00.000000Z", "order_id": null, "status": null, "reason": null,'
        ' "broker_ids": [], "seen": {}, "executions": []}'
    )
    for name in ("intent-1", "intent-2"):
        store.save(f"bridge/{PROJECT}/orders/{name}", intent)
    store.close()
    paper = PaperProcess(tmp_path, receiver)
    paper.start()
    try:
        paper.send("QueryOrder", client_order_id="intent-1")
        (absent,) = until(lambda: receiver.events("intent-1"), "the answer")
        assert absent["known"] is False
        assert paper.orders("intent-1") == []
        paper.place("intent-2")
        until(lambda: receiver.statuses("intent-2") == ["accepted", "filled"], "the fill")
    finally:
        paper.close()
