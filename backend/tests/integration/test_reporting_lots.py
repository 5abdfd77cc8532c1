"""Lots first in, first out: random histories against a plain queue, and what people would check."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from uuid import uuid4

import pytest
from contract.booking import Books, Held, books
from contract.histories import Event, Fill, by_symbol, histories, holding, in_time, read, written
from fixtures_postgres import Cluster
from read_tokens import sign

SEED = int(os.environ.get("SEED", "2"))
HISTORIES = int(os.environ.get("HISTORIES", "50"))
# What a close releases of a cost is cut to so many decimals.
CUT = 10**12


@pytest.fixture
def right(cluster: Cluster) -> Iterator[Books]:
    """A database to book in."""
    with books(cluster, f"lots_{uuid4().hex[:8]}", {}) as made:
        yield made


def queue(
    fills: Sequence[Fill],
) -> tuple[list[tuple[int, Fraction, Fraction]], dict[int, Fraction]]:
    """Keep lots as one would on paper: what is opposite is taken from the front."""
    lots: deque[tuple[int, Fraction, Fraction]] = deque()
    closes: dict[int, Fraction] = defaultdict(Fraction)
    for fill in fills:
        rest, price = Fraction(fill.signed), Fraction(fill.price * fill.multiplier)
        while rest and lots and lots[0][1] * rest < 0:
            opened_by, held, cost = lots.popleft()
            closed = held if abs(held) <= abs(rest) else -rest
            closes[fill.exec_id] += closed * (price - cost)
            rest += closed
            if held != closed:
                lots.appendleft((opened_by, held - closed, cost))
        if rest:
            lots.append((fill.exec_id, rest, price))
    return list(lots), dict(closes)


def average(fills: Sequence[Fill]) -> tuple[Fraction, Fraction, Fraction]:
    """Quantity, cost and realized profit at average cost."""
    quantity = cost = realized = Fraction(0)
    for fill in fills:
        size, price = Fraction(fill.signed), Fraction(fill.price * fill.multiplier)
        closed = Fraction(0)
        if quantity * size < 0:
            closed = -size if abs(size) < abs(quantity) else quantity
        released = (
            cost if closed == quantity else Fraction(int(cost * closed / quantity * CUT), CUT)
        )
        realized += closed * price - released
        cost += (size + closed) * price - released
        quantity += size
    return quantity, cost, realized


def _exact(held: Held) -> list[tuple[int, Fraction, Fraction]]:
    return [(exec_id, Fraction(size), Fraction(price)) for exec_id, size, price in held.lots]


def check(held: Held, fills: Sequence[Fill]) -> None:
    """Compare one instrument with the models, to the last digit."""
    lots, closes = queue(in_time(fills))
    each = Fraction(fills[0].multiplier)
    assert [(it, size, price * each) for it, size, price in _exact(held)] == lots
    assert {it: Fraction(made) for it, made in held.closes.items()} == closes
    summary = (
        sum((size for _, size, _ in lots), Fraction(0)),
        sum((size * price for _, size, price in lots), Fraction(0)),
        sum(closes.values(), Fraction(0)),
    )
    assert held.fifo is not None
    assert tuple(map(Fraction, held.fifo)) == summary
    figures = (held.quantity, held.cost, held.realized_pnl)
    assert tuple(map(Fraction, figures)) == average(fills)


def test_random_histories_agree_with_a_queue_and_with_an_average(right: Books) -> None:
    made = list(histories(SEED, HISTORIES))
    compared = 0
    for history, booked in zip(made, right.book(made), strict=True):
        fills = by_symbol(holding(history))
        for symbol, held in booked.symbols.items():
            if symbol in fills:
                check(held, fills[symbol])
                compared += 1
            else:
                assert (held.quantity, held.fifo, held.lots, held.closes) == (0, None, [], {})
    assert compared >= HISTORIES


def fill(exec_id: int, side: str, quantity: str, price: str, at: int = 0) -> Event:
    """A fill of an order of its own."""
    number = exec_id
    return Event("fill", exec_id, "AAPL", number, side, quantity, price, "0", "USD", at or number)


def held_of(right: Books, *events: Event) -> Held:
    """Book one history."""
    (booked,) = right.book([events])
    assert set(booked.outcomes) == {"applied"}
    return booked.symbols["AAPL"]


def numbers(held: Held) -> list[tuple[int, str, str]]:
    """The open lots, to be read."""
    return [(exec_id, str(size), str(price)) for exec_id, size, price in held.lots]


def test_the_oldest_lot_is_closed_first_long_short_and_through_zero(right: Books) -> None:
    long = (fill(1, "buy", "10", "100"), fill(2, "buy", "10", "110"), fill(3, "sell", "15", "120"))
    held = held_of(right, *long)
    assert numbers(held) == [(2, "5", "110")]
    assert held.closes == {3: Decimal(250)}
    assert held.fifo == (5, 550, 250)
    # At average cost the same is another figure.
    assert held.realized_pnl == 225
    flip = held_of(right, *long, fill(4, "sell", "8", "130"), fill(5, "buy", "1", "90"))
    assert numbers(flip) == [(4, "-2", "130")]
    assert flip.closes == {3: Decimal(250), 4: Decimal(100), 5: Decimal(40)}
    flat = held_of(right, *long, fill(4, "sell", "5", "100"))
    assert numbers(flat) == []
    assert flat.fifo == (0, 0, 200)
    assert flat.realized_pnl == 200


def test_a_fill_that_is_reported_late_stands_where_it_was_made(right: Books) -> None:
    late = (fill(1, "buy", "1", "100", at=20), fill(2, "buy", "1", "50", at=10))
    held = held_of(right, *late, fill(3, "sell", "1", "120", at=30))
    assert numbers(held) == [(1, "1", "100")]
    assert held.closes == {3: Decimal(70)}


def test_a_correction_takes_the_place_of_what_it_corrects_and_a_bust_takes_it_away(
    right: Books,
) -> None:
    bought = (fill(1, "buy", "2", "100", at=1), fill(2, "buy", "2", "110", at=2))
    sold = fill(3, "sell", "2", "120", at=3)
    corrected = Event("correction", 1, quantity="1", price="90", at=99, revision=1)
    held = held_of(right, *bought, sold, corrected)
    assert numbers(held) == [(2, "1", "110")]
    assert held.closes == {3: Decimal(40)}
    busted = held_of(right, *bought, sold, corrected, Event("bust", 1, at=100, revision=2))
    assert numbers(busted) == []
    assert busted.closes == {3: Decimal(20)}


def test_a_history_that_is_written_down_is_read_as_it_was() -> None:
    for history in histories(SEED, 20):
        assert read(written(history)) == history


def test_a_wrong_match_is_noticed(right: Books) -> None:
    held = held_of(right, fill(1, "buy", "1", "100"), fill(2, "buy", "1", "110"))
    (fills,) = by_symbol(holding((fill(1, "buy", "1", "100"), fill(2, "buy", "1", "110")))).values()
    check(held, fills)
    with pytest.raises(AssertionError):
        check(replace(held, lots=held.lots[::-1]), fills)


@pytest.mark.parametrize("function", ["fifo_lots", "fifo_realized"])
def test_lots_are_seen_by_those_who_see_the_account(right: Books, function: str) -> None:
    right.book([(fill(1, "buy", "1", "100"),)])
    query = f"SELECT count(*) FROM reporting.{function}(ARRAY[1, 2])"  # noqa: S608
    seen = []
    for token in (right.token, sign("wrong key", uuid4()), ""):
        with right.reader.transaction():
            right.reader.execute("SELECT set_config('app.user_token', %s, TRUE)", (token,))
            row = right.reader.execute(query.encode()).fetchone()
            seen.append(row and row[0])
    assert seen == [1, 0, 0]
