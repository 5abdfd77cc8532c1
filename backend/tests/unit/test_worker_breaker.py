"""The circuit of a route: when it opens, when it lets one through, when it closes."""

import pytest

from app.services.broker import OutcomeKind
from worker.breaker import FAILURES_MAX, PAUSE_MAX_S, Breaker

PROBE_S = 2.0


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """A breaker, its clock, and what it said of itself."""

    def __init__(self) -> None:
        self.time, self.said = Time(), list[bool]()
        self.breaker = Breaker("quantconnect", on_change=self.said.append, clock=self.time)

    def note(self, *outcomes: OutcomeKind) -> None:
        for outcome in outcomes:
            self.breaker.note(outcome)

    @property
    def allows(self) -> bool:
        return self.breaker.allows(PROBE_S)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("outcome", [OutcomeKind.NOT_SENT, OutcomeKind.UNKNOWN])
def test_it_opens_after_failures_in_a_row(world: World, outcome: OutcomeKind) -> None:
    world.note(*[outcome] * (FAILURES_MAX - 1))
    assert world.allows
    world.note(OutcomeKind.ACCEPTED, *[outcome] * (FAILURES_MAX - 1))
    assert world.allows, "an answer in between begins the count anew"
    world.note(outcome)
    assert not world.allows
    assert world.said == [True]
    assert 0 < world.breaker.wait_s <= PAUSE_MAX_S


def test_a_refused_credential_opens_it_at_once(world: World) -> None:
    world.note(OutcomeKind.AUTH)
    assert not world.allows


@pytest.mark.parametrize("outcome", [OutcomeKind.DEFINITE_REJECT, OutcomeKind.THROTTLED])
def test_what_the_venue_answers_never_opens_it(world: World, outcome: OutcomeKind) -> None:
    world.note(*[outcome] * 100)
    assert world.allows
    assert world.said == []


def test_after_the_pause_one_probe_goes_out_and_its_answer_closes_it(world: World) -> None:
    world.note(*[OutcomeKind.UNKNOWN] * FAILURES_MAX)
    world.time.now += PAUSE_MAX_S
    assert world.allows
    assert not world.allows, "one at a time"
    world.note(OutcomeKind.ACCEPTED)
    assert world.allows
    assert world.allows
    assert world.said == [True, False]


def test_a_probe_that_fails_opens_it_for_another_pause(world: World) -> None:
    world.note(*[OutcomeKind.UNKNOWN] * FAILURES_MAX)
    world.time.now += PAUSE_MAX_S
    assert world.allows
    world.note(OutcomeKind.NOT_SENT)
    assert not world.allows
    assert world.said == [True]


def test_a_probe_without_an_answer_is_followed_by_another(world: World) -> None:
    world.note(*[OutcomeKind.UNKNOWN] * FAILURES_MAX)
    world.time.now += PAUSE_MAX_S
    assert world.allows
    world.time.now += PROBE_S
    assert world.allows


def test_throttled_while_open_neither_closes_nor_prolongs(world: World) -> None:
    world.note(*[OutcomeKind.UNKNOWN] * FAILURES_MAX)
    before = world.breaker.wait_s
    world.note(OutcomeKind.THROTTLED)
    assert world.breaker.wait_s == before
    assert not world.allows
