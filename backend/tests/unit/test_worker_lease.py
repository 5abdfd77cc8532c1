"""When a worker may send: its lease by a steady clock, and the bridges it has heard."""

from typing import Any

import pytest

from app.outbox.repo import Bridge, SendResult, as_wire
from worker.bridges import Bridges, account_of, source_of
from worker.lanes import Lease, steady_clock
from worker.reconcilers import StreamSample


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_that_was_never_granted_is_not_fresh() -> None:
    assert not Lease(20, Clock()).is_fresh


def test_a_lease_is_fresh_for_half_of_its_length_only() -> None:
    clock = Clock()
    lease = Lease(20, clock)
    lease.renewed(asked_at=clock.now)
    clock.now += 9.99
    assert lease.is_fresh
    clock.now += 0.01
    assert not lease.is_fresh


def test_a_lease_counts_from_when_it_was_asked_for_not_from_the_answer() -> None:
    clock = Clock()
    lease = Lease(20, clock)
    asked_at = clock.now
    clock.now += 11
    lease.renewed(asked_at)
    assert not lease.is_fresh


def test_an_answer_that_comes_late_does_not_make_a_lease_older() -> None:
    clock = Clock()
    lease = Lease(20, clock)
    lease.renewed(asked_at=clock.now)
    lease.renewed(asked_at=clock.now - 15)
    assert lease.is_fresh


def test_a_lease_is_due_after_a_third() -> None:
    clock = Clock()
    lease = Lease(21, clock)
    lease.renewed(asked_at=clock.now)
    clock.now += 6.9
    assert not lease.is_due
    clock.now += 0.1
    assert lease.is_due


def test_the_steady_clock_never_goes_back() -> None:
    readings = [steady_clock() for _ in range(100)]
    assert readings == sorted(readings)


def bridge(source: str = "qc:1001", *, epoch: int = 3, silent_s: float = 0.5) -> Bridge:
    return Bridge(source=source, deploy_id="L-1", epoch=epoch, sequence=7, silent_s=silent_s)


def test_the_gate_is_closed_until_a_bridge_was_heard() -> None:
    bridges = Bridges(clock=Clock())
    assert not bridges.any_heard
    assert not bridges.is_heard("quantconnect", "1001")
    assert bridges.epoch_of("qc:1001") is None
    assert bridges.update([bridge()]) is True
    assert bridges.is_heard("quantconnect", "1001")
    assert bridges.epoch_of("qc:1001") == 3
    assert not bridges.is_heard("quantconnect", "1002")


def test_an_old_heartbeat_does_not_open_the_gate() -> None:
    bridges = Bridges(clock=Clock(), silence_max_s=60)
    assert bridges.update([bridge(silent_s=61)]) is False
    assert not bridges.any_heard
    assert [known.source for known in bridges.known] == ["qc:1001"]


def test_the_gate_closes_by_itself_when_nothing_is_read_any_more() -> None:
    clock = Clock()
    bridges = Bridges(clock=clock, silence_max_s=60)
    bridges.update([bridge(silent_s=50)])
    clock.now += 9
    assert bridges.any_heard
    clock.now += 1
    assert not bridges.any_heard


def test_a_bridge_is_named_as_its_webhooks_name_it() -> None:
    assert source_of("quantconnect", "1001") == "qc:1001"
    assert account_of("qc:1001") == ("quantconnect", "1001")
    assert account_of("elsewhere:1") is None


def test_streams_are_checked_in_turn_beginning_with_the_system() -> None:
    sample = StreamSample(streams_max=3)
    for stream_id in (5, 6, 5, 7):
        sample.note(stream_id)
    assert [sample.take() for _ in range(6)] == [0, 5, 6, 0, 5, 6]


def wire(**fields: Any) -> dict[str, object]:
    return as_wire(SendResult(event_id=1, epoch=2, attempts=3, outcome="unknown", **fields))


def test_a_result_says_only_what_is_known_and_no_more_than_the_books_can_bear() -> None:
    assert wire(reason="x" * 500) == {
        "event_id": 1,
        "epoch": 2,
        "attempts": 3,
        "outcome": "unknown",
        "reason": "x" * 200,
    }


@pytest.mark.parametrize(
    ("said", "kept"), [("a\x00b\ud800c", "a b c"), ("\n \x00", None), ("", None), (None, None)]
)
def test_what_a_venue_says_is_made_fit_for_the_database(said: str, kept: str | None) -> None:
    assert wire(reason=said).get("reason") == kept
    assert wire(broker_order_id=said).get("broker_order_id") == kept


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (0.1 + 0.2, 0.3),
        (-5.0, 0.0),
        (1e-9, 0.0),
        (1e12, 3600.0),
        (float("nan"), None),
        (None, None),
    ],
)
def test_a_wait_that_a_venue_asks_for_is_bounded(said: float, kept: float | None) -> None:
    assert wire(retry_after_s=said).get("retry_after_s") == kept
