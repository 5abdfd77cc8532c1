"""Identities that hold for whatever a venue reports, proved through the procedures of the worker.

P1 a position is the signed sum of its executions; P2 cash is realized profit less cost less fees,
and equity what was paid in plus profit less fees; P3 of a flat position, average cost and
first-in-first-out agree; P4 the order of fills at one price does not matter; P5 a report repeated
changes nothing; P6 what was busted never happened, what was corrected was always so; P7 between two
parties only fees are lost; P8 a fill in two parts is the same fill.

Where a release of cost is cut at another place (P4, P8), figures may differ in the twelfth decimal
and their sum, the traded cash, not at all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import psycopg
import pytest
from accounting_kit import INSTRUMENTS, PAID_IN, Figures, Fill, Venue, bust, commission, fill_event
from fixtures_postgres import make_instrument, set_price
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from sp_world import World, desk

__all__ = ["desk"]

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "40"))
MARKS = {"AAPL": "100", "ES": "101.25", "SAP": "99.99"}
# As many cuts as a history has partial closes, each below 1e-12, at most doubled by what follows.
CUTS = Fraction(1, 10**10)


# --- what may be reported -------------------------------------------------------------------


def _decimals(least: str, most: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(least, most, places=places, allow_nan=False)


QUANTITIES = st.one_of(
    st.integers(1, 7).map(Decimal), _decimals("0.00000001", "9", 8), _decimals("0.1", "40", 3)
)
PRICES = st.one_of(_decimals("0.01", "300", 2), _decimals("0.00000001", "3", 8))
FEES = st.one_of(st.none(), st.just(Decimal(0)), _decimals("0", "5", 4))


@st.composite
def histories(draw: st.DrawFn, symbols: Sequence[str] = tuple(INSTRUMENTS)) -> list[Fill]:
    """Fills of two to five orders, which take turns; many are more than was ordered.

    Mostly of one instrument, bought and sold, or little would ever be closed.
    """
    main = draw(st.sampled_from(symbols))
    more = draw(st.lists(st.sampled_from(["buy", "sell"]), max_size=3))
    sides = ["buy", "sell", *more]
    names = [main, main, *(draw(st.sampled_from([main, main, *symbols])) for _ in more)]
    turns = draw(st.lists(st.integers(0, len(sides) - 1), min_size=3, max_size=12))
    return [
        Fill(
            *(f"x{number}", order, names[order], sides[order], draw(QUANTITIES), draw(PRICES)),
            *(draw(FEES), draw(st.sampled_from(["USD", "EUR", "CHF"]))),
        )
        for number, order in enumerate(turns)
    ]


def signed(fills: Iterable[Fill], symbol: str) -> Fraction:
    """Add up what was bought and sold."""
    return sum((f.sign * Fraction(f.quantity) for f in fills if f.symbol == symbol), Fraction(0))


def first_in_first_out(fills: Iterable[Fill]) -> Fraction:
    """Realize the profit of one instrument by its oldest lots."""
    lots: list[tuple[Fraction, Fraction]] = []
    realized = Fraction(0)
    for fill in fills:
        left = fill.sign * Fraction(fill.quantity)
        unit = fill.value / left
        while left and lots and lots[0][0] * left < 0:
            held, cost = lots.pop(0)
            closed = min(abs(held), abs(left)) * (1 if held > 0 else -1)
            realized += closed * (unit - cost)
            left += closed
            if held != closed:
                lots.insert(0, (held - closed, cost))
        if left:
            lots.append((left, unit))
    return realized


def assert_alike(one: Figures, other: Figures) -> None:
    """Two histories mean the same, but for where a release was cut."""
    assert one.keys() == other.keys()
    for name, values in one.items():
        if name not in INSTRUMENTS:
            assert values == other[name], name
            continue
        quantity, cost, realized, fees = values
        quantity_too, cost_too, realized_too, fees_too = other[name]
        assert (quantity, fees) == (quantity_too, fees_too), name
        assert realized - cost == realized_too - cost_too, name
        assert abs(realized - realized_too) <= CUTS, name


# --- the identities -------------------------------------------------------------------------

Draw = st.DataObject
Identity = Callable[[Venue, Draw], None]


def p1_a_position_is_the_signed_sum(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories())
    figures = venue.book(fills)
    for symbol in INSTRUMENTS:
        held = figures.get(symbol, (Fraction(0),))
        assert held[0] == signed(fills, symbol)


def p2_cash_is_profit_less_cost_less_fees(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories())
    figures = venue.book(fills)
    for currency in ("USD", "EUR", "CHF"):
        traded = [f for f in fills if INSTRUMENTS[f.symbol][0] == currency]
        positions = [
            figures[symbol]
            for symbol, (counted_in, _) in INSTRUMENTS.items()
            if counted_in == currency and symbol in figures
        ]
        paid = sum((Fraction(f.fee or 0) for f in fills if f.fee_currency == currency), Fraction(0))
        amount, fees = figures.get(currency, (Fraction(0), Fraction(0)))
        assert fees == paid
        profit = sum((realized - cost for _, cost, realized, _ in positions), Fraction(0))
        assert profit == -sum((fill.value for fill in traded), Fraction(0))
        assert amount == PAID_IN.get(currency, 0) + profit - fees


def p3_flat_both_ways_of_counting_agree(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories(["ES"]))
    left = signed(fills, "ES")
    if left:
        side = "sell" if left > 0 else "buy"
        size = Decimal(abs(left).numerator) / Decimal(abs(left).denominator)
        fills.append(Fill("close", 9, "ES", side, size, data.draw(PRICES)))
    quantity, cost, realized, _ = venue.book(fills).get("ES", (Fraction(0),) * 4)
    assert (quantity, cost) == (0, 0)
    assert realized == first_in_first_out(fills)


def p4_the_order_of_fills_at_one_price_does_not_matter(venue: Venue, data: Draw) -> None:
    before = data.draw(histories(["AAPL"]))
    price = data.draw(PRICES)
    held = signed(before, "AAPL")
    # Parts of what is held, so that they close it bit by bit, or of anything when nothing is.
    parts = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
    whole = abs(held) or Fraction(9)
    sizes = [Decimal(int(whole * part * 10**8 / 50) or 1) / 10**8 for part in parts]
    side = "sell" if held > 0 else "buy"
    fills = [Fill(f"y{n}", 9, "AAPL", side, size, price) for n, size in enumerate(sizes)]
    shuffled = data.draw(st.permutations(fills))
    assert_alike(venue.book([*before, *fills]), venue.book([*before, *shuffled]))


def p5_a_report_repeated_changes_nothing(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories())
    account_id, source = venue.open()
    events = list(map(fill_event, fills))
    venue.report(source, events)
    figures = venue.figures(account_id)
    assert venue.report(source, events) == [], "the same events"
    again = data.draw(st.permutations(fills))
    outcomes = venue.report(source, map(fill_event, again))
    assert set(outcomes) <= {"duplicate", "applied"}, "the same executions"
    assert venue.figures(account_id) == figures


def p6_what_was_busted_never_happened(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories())
    busted = data.draw(st.sets(st.sampled_from(fills)))
    held = [fill for fill in fills if fill not in busted]
    gone = data.draw(st.permutations([fill for fill in fills if fill in busted]))
    assert venue.book(fills, [bust(fill) for fill in gone]) == venue.book(held)


def p6_what_was_corrected_was_always_so(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories())
    places = data.draw(st.sets(st.integers(0, len(fills) - 1)))
    right = [
        replace(fill, quantity=data.draw(QUANTITIES), price=data.draw(PRICES))
        if place in places
        else fill
        for place, fill in enumerate(fills)
    ]
    changed = [right[place] for place in sorted(places)]
    corrections = [fill_event(fill, exec_revision=1) for fill in changed]
    assert venue.book(fills, corrections) == venue.book(right)


def p6_a_fee_that_comes_later_is_the_same_fee(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories())
    charged = [fill for fill in fills if fill.fee is not None]
    bare = [replace(fill, fee=None) for fill in fills]
    assert venue.book(bare, [commission(fill) for fill in charged]) == venue.book(fills)


def p7_between_two_parties_only_fees_are_lost(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories())
    opposite = {"buy": "sell", "sell": "buy"}
    others = [replace(fill, side=opposite[fill.side], fee=data.draw(FEES)) for fill in fills]
    one, other = venue.book(fills), venue.book(others)
    for currency in ("USD", "EUR", "CHF"):
        both = [figures.get(currency, (Fraction(0),) * 2) for figures in (one, other)]
        amounts, fees = (sum(column, Fraction(0)) for column in zip(*both, strict=True))
        assert amounts + fees == 2 * PAID_IN.get(currency, 0)
    for symbol in INSTRUMENTS:
        both = [figures.get(symbol, (Fraction(0),) * 4) for figures in (one, other)]
        assert both[0][0] == -both[1][0]
        assert (both[0][1], both[0][2]) == (-both[1][1], -both[1][2])


def p8_a_fill_in_two_parts_is_the_same_fill(venue: Venue, data: Draw) -> None:
    fills = data.draw(histories())
    place = data.draw(st.integers(0, len(fills) - 1))
    whole = fills[place]
    units = int(whole.quantity * 10**8)
    if units < 2:
        return
    part = Decimal(data.draw(st.integers(1, units - 1))) / 10**8
    parts = [
        replace(whole, exec_id="left", quantity=part),
        replace(whole, exec_id="right", quantity=whole.quantity - part, fee=None),
    ]
    split = [*fills[:place], *parts, *fills[place + 1 :]]
    assert_alike(venue.book(fills), venue.book(split))


IDENTITIES: tuple[Identity, ...] = (
    p1_a_position_is_the_signed_sum,
    p2_cash_is_profit_less_cost_less_fees,
    p3_flat_both_ways_of_counting_agree,
    p4_the_order_of_fills_at_one_price_does_not_matter,
    p5_a_report_repeated_changes_nothing,
    p6_what_was_busted_never_happened,
    p6_what_was_corrected_was_always_so,
    p6_a_fee_that_comes_later_is_the_same_fee,
    p7_between_two_parties_only_fees_are_lost,
    p8_a_fill_in_two_parts_is_the_same_fill,
)


def _prove(world: World, identity: Identity) -> int:
    examples = 0
    with psycopg.connect(
        world.database.dsn("postgres"), autocommit=True, row_factory=dict_row
    ) as connection:
        venue = Venue(connection)

        @settings(
            max_examples=EXAMPLES,
            derandomize=EXAMPLES <= 100,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def check(data: st.DataObject) -> None:
            nonlocal examples
            examples += 1
            identity(venue, data)

        check()
    return examples


@pytest.mark.parametrize("identity", IDENTITIES, ids=lambda it: it.__name__)
async def test_the_identity_holds(desk: World, identity: Identity) -> None:
    for symbol, (currency, multiplier) in INSTRUMENTS.items():
        if symbol != "AAPL":
            await make_instrument(desk.migrate, symbol, currency=currency, multiplier=multiplier)
        await set_price(desk.migrate, symbol, MARKS[symbol])
    examples = await asyncio.to_thread(_prove, desk, identity)
    assert examples >= min(EXAMPLES, 20)
    await desk.assert_whole()
