"""The bridge and what LEAN may do to it: lost tags, parsed times, full quotas, full stores."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from lean_world import Lean, TaglessTransactions, lean
from paper_world import PROJECT, make_command, order_fields

from paper.algorithm_imports import AccountType, BrokerageName, QCAlgorithm
from paper.journal import read
from paper.lean_tickets import Transactions

__all__ = ["lean"]


def test_times_that_lean_parsed_and_a_lost_text_do_not_break_the_signature(lean: Lean) -> None:
    lean.deploy()
    command = lean.algorithm._command_types["PlaceOrder"]()
    for name, value in make_command("PlaceOrder", **order_fields("parsed")).items():
        is_time = name in ("sent_at", "valid_until")
        setattr(command, name, datetime.fromisoformat(value) if is_time else value)
    assert command.run(object()) is True
    assert [order.tag for order in lean.venue.orders()] == ["parsed"]


def test_an_order_whose_intent_cannot_be_saved_is_not_placed(lean: Lean) -> None:
    lean.deploy()
    lean.store.is_full = True
    assert lean.place("unsaved") == []  # neither can the refusal be saved, so it is not told
    lean.store.is_full = False
    lean.deployment.step(ticked=False)
    (event,) = lean.post.events()
    assert [event["kind"], event["reason"]] == ["command_rejected", "LEDGER_NOT_SAVED"]
    assert lean.venue.orders() == []


def test_nothing_is_posted_under_a_number_that_is_not_saved(lean: Lean) -> None:
    lean.deploy()
    lean.send("QueryOrder", client_order_id="one")
    lean.store.is_full = True
    assert lean.send("QueryOrder", client_order_id="two") == []
    lean.store.is_full = False
    lean.deploy()
    (event,) = [e for e in lean.send("QueryOrder", client_order_id="three") if e["sequence"] == 2]
    assert event["client_order_id"] == "three"


def test_beyond_the_webhook_quota_events_wait_and_leave_in_order(lean: Lean) -> None:
    lean.deploy()
    lean.post.is_open = False
    lean.place("waits")
    lean.post.is_open = True
    lean.deployment.step(ticked=False)
    assert [event["status"] for event in lean.post.events()] == ["accepted", "filled"]
    assert [event["sequence"] for event in lean.post.events()] == [1, 2]


def test_what_is_told_of_an_order_is_never_on_disk_before_the_order(lean: Lean) -> None:
    lean.venue.before_commit = lean.store.commit
    lean.deploy()
    for kind, fields in (
        ("PlaceOrder", order_fields("asked")),
        ("QueryOrder", {"client_order_id": "asked"}),
    ):
        lean.deployment.enqueue(json.dumps(make_command(kind, **fields)))
    lean.deployment.run_commands()
    lean.store.commit()  # the first step of a commit; a kill after it leaves these two files:
    folder = lean.settings.paper_state_dir
    saved = {it["name"]: it["text"] for it in read(folder / "object_store" / "objects.log")[0]}
    told = json.loads(saved[f"bridge/{PROJECT}/events"])["events"]
    journal = [it for it in read(folder / "journal.log")[0] if it["kind"] == "event"]
    assert [event["status"] for event in told] == ["accepted", "filled", "filled"]
    assert [event["status"] for event in journal] == ["accepted", "filled"]


def test_what_the_venue_lists_is_on_disk(lean: Lean) -> None:
    lean.deploy()
    lean.deployment.enqueue(json.dumps(make_command("PlaceOrder", **order_fields("listed"))))
    lean.deployment.run_commands()
    journal = lean.settings.paper_state_dir / "journal.log"
    assert [it for it in read(journal)[0] if it.get("tag") == "listed"] == []
    with lean.venue.lock:
        assert [order.tag for order in lean.venue.orders(PROJECT)] == ["listed"]
    assert [it["tag"] for it in read(journal)[0] if it["kind"] == "order"] == ["listed"]


def test_without_tags_an_intent_of_an_earlier_run_stays_ambiguous_and_is_never_placed(
    lean: Lean,
) -> None:
    entry: dict[str, Any] = {"at": "2026-01-01T00:00:00.000000Z", "order_id": None, "status": None}
    entry |= {"reason": None, "broker_ids": [], "seen": {}, "executions": []}
    lean.store.save(f"bridge/{PROJECT}/orders/doubt", json.dumps(entry))
    lean.deploy(TaglessTransactions)
    for answer in (lean.send("QueryOrder", client_order_id="doubt"), lean.place("doubt")):
        (event,) = [e for e in answer if e["client_order_id"] == "doubt"]
        assert [event["kind"], event["known"], event["status"], event["reason"]] == [
            "order_state",
            True,
            None,
            "AMBIGUOUS",
        ]
    assert lean.venue.orders() == []
    (refusal, _) = lean.send("CancelOrder", client_order_id="doubt")
    assert refusal["reason"] == "UNKNOWN_ORDER"


def test_without_tags_an_open_order_is_found_again_by_the_brokers_id(lean: Lean) -> None:
    lean.deploy()
    lean.place("resting", order_type="limit", limit_price="50")
    lean.deploy(TaglessTransactions)
    lean.send("CancelOrder", client_order_id="resting")
    statuses = [e["status"] for e in lean.post.events() if e["client_order_id"] == "resting"]
    assert statuses[-1] == "canceled"


def test_without_tags_an_order_that_ended_unseen_is_ambiguous_and_not_still_working(
    lean: Lean,
) -> None:
    lean.deploy()
    lean.place("gone", order_type="limit", limit_price="50")
    lean.venue.hold("AAPL", Decimal(49))
    lean.venue.take_events(PROJECT)  # nobody was there to hear of the fill
    lean.deploy(TaglessTransactions)
    events = lean.send("QueryOrder", client_order_id="gone")
    (state,) = [event for event in events if event["kind"] == "order_state"]
    assert [state["known"], state["status"], state["reason"]] == [True, None, "AMBIGUOUS"]


def test_a_fill_while_the_bridge_was_down_is_told_after_its_return(lean: Lean) -> None:
    lean.deploy(history="tagged")
    lean.place("resting", order_type="limit", limit_price="50")
    lean.algorithm = None
    lean.venue.hold("AAPL", Decimal(49))
    lean.venue.take_events(PROJECT)  # nobody was there to hear them
    lean.deploy(history="tagged")
    lean.deployment.step(ticked=False)
    fills = {e["exec_id"]: e for e in lean.post.events() if "exec_id" in e}
    (fill,) = fills.values()
    assert [fill["status"], fill["fill_price"]] == ["filled", "49"]


def test_an_order_that_lean_refuses_without_an_event_is_told_as_rejected(lean: Lean) -> None:
    lean.deploy()
    lean.venue.book.prices.pop("MSFT")
    events = lean.place("early", symbol="MSFT")
    assert [event["status"] for event in events] == ["rejected"]
    assert "SECURITY_PRICE_ZERO" in events[0]["reason"]
    (state,) = [e for e in lean.place("early", symbol="MSFT") if e["kind"] == "order_state"]
    assert state["status"] == "rejected"


def test_an_order_from_elsewhere_is_reported_without_a_name(lean: Lean) -> None:
    lean.deploy()
    lean.venue.place(
        project_id=PROJECT,
        tag="",
        symbol="AAPL",
        side="buy",
        quantity=Decimal(1),
        limit_price=None,
        time_in_force="gtc",
    )
    lean.deployment.step(ticked=False)
    assert {event["client_order_id"] for event in lean.post.events()} == {None}
    assert [event["status"] for event in lean.post.events()] == ["accepted", "filled"]


def test_a_full_backlog_takes_no_order_and_an_acknowledgment_frees_it(lean: Lean) -> None:
    lean.deploy()
    lean.post.is_open = False
    for number in range(1_000):
        lean.algorithm._feed.emit("order_state", f"n-{number}", known=False)
    lean.place("late")
    assert lean.venue.orders() == []
    lean.post.is_open = True
    lean.send("Acknowledge", sequence=1_000)
    lean.place("late")
    assert [order.tag for order in lean.venue.orders()] == ["late"]


def test_the_end_of_a_day_order_is_told_as_expired(lean: Lean) -> None:
    lean.deploy()
    lean.place("today", order_type="limit", limit_price="50", time_in_force="day")
    records = lean.venue.book.expire(10**9, lean.venue.ticked_at)
    lean.venue._keep(records)
    lean.deployment.step(ticked=False)
    assert lean.post.events()[-1]["status"] == "expired"


@pytest.mark.parametrize("name", ["webhook_url", "webhook_secret", "source", "epoch"])
def test_a_deployment_without_its_parameters_does_not_start(lean: Lean, name: str) -> None:
    with pytest.raises(ValueError, match="set the parameters"):
        lean.deploy(Transactions, **{name: "0" if name == "epoch" else ""})


def test_the_bridge_sends_money_and_prices_as_the_decimals_that_were_meant(lean: Lean) -> None:
    lean.deploy()
    number = type(lean.algorithm).initialize.__globals__["number"]  # of the project's feed.py
    values = [0.1 + 0.2, 1e-9, 100000.0, 89.54, -3.5, 0.0]
    assert [number(value) for value in values] == ["0.3", "0", "100000", "89.54", "-3.5", "0"]


def test_a_bridge_that_quits_cancels_takes_nothing_more_and_ends_when_all_is_told(
    lean: Lean,
) -> None:
    lean.deploy()
    lean.place("works", order_type="limit", limit_price="1")
    assert lean.send("QuitBridge", key="another key") == []
    assert lean.send("QuitBridge", epoch=7) == []
    lean.deployment.step(ticked=False)
    assert not lean.deployment.has_quit, "neither was signed for this run"
    told = lean.send("QuitBridge")
    assert [event["status"] for event in told if event["client_order_id"] == "works"] == [
        "canceled"
    ]
    (late,) = [e for e in lean.place("late") if e["kind"] == "command_rejected"]
    assert late["reason"] == "STOPPING"
    assert not lean.deployment.has_quit, "what it told is not acknowledged"
    lean.send("Acknowledge", sequence=max(event["sequence"] for event in lean.post.events()))
    lean.deployment.step(ticked=False)
    assert lean.deployment.has_quit


def test_how_far_the_bridge_counts_can_be_read_without_a_webhook(lean: Lean) -> None:
    lean.deploy()
    lean.post.is_open = False
    lean.place("counted")
    sequence = lean.algorithm._feed.sequence
    assert sequence > 0
    assert lean.deployment.statistics == {"bridge_sequence": str(sequence)}


def test_under_interactive_brokers_it_takes_their_rules(
    lean: Lean, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[Any, ...]] = []
    monkeypatch.setattr(QCAlgorithm, "set_brokerage_model", lambda self, *said: called.append(said))
    lean.deploy()
    assert called == []
    lean.deploy(brokerage="ib")
    interactive = BrokerageName.INTERACTIVE_BROKERS_BROKERAGE
    assert called == [(interactive, AccountType.MARGIN)]
