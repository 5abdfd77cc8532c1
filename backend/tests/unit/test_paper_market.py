"""The replayed market: real bars, seeded paths."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.exchange_hours import sessions
from paper.market import Bar, Replay, is_open, path_of, read_bars
from paper.settings import read_demo

DEMO = Path(__file__).resolve().parents[3] / "db" / "postgres" / "demo" / "demo.toml"
CENT = Decimal("0.01")
STARTED_AT = datetime(2026, 1, 5, tzinfo=UTC)

cents = st.integers(100, 100_000)


@given(st.tuples(cents, cents, cents, cents), st.integers(4, 700), st.text(max_size=5))
def test_a_path_starts_at_the_open_touches_high_and_low_and_ends_at_the_close(
    prices: tuple[int, int, int, int], ticks: int, seed: str
) -> None:
    low, first, last, high = (Decimal(n) / 100 for n in sorted(prices))
    bar = Bar("2009-03-02", open=first, high=high, low=low, close=last, volume=1)
    path = path_of(bar, ticks, seed, CENT)
    assert len(path) == ticks
    assert [path[0], path[-1], max(path), min(path)] == [first, last, high, low]
    assert path == path_of(bar, ticks, seed, CENT)
    assert all(price % CENT == 0 for price in path)


def test_another_seed_walks_another_path() -> None:
    bar = Bar("2009-03-02", Decimal(20), Decimal(25), Decimal(15), Decimal(21), 1)
    assert path_of(bar, 600, "1", CENT) != path_of(bar, 600, "2", CENT)


def test_no_price_stands_still_for_long() -> None:
    """A tick a second: what stands for minutes looks like a dead feed to who trades on moves."""
    bars = read_bars(read_demo(DEMO).bars_path)
    longest = {
        symbol: max(
            sum(1 for _ in same)
            for day in range(0, 1008, 16)
            for _, same in groupby(path_of(rows[day], 600, f"1-{symbol}-{day}", CENT))
        )
        for symbol, rows in bars.items()
    }
    assert max(longest.values()) < 30, longest


def make_replay(session_seconds: int = 10) -> Replay:
    bars = {
        symbol: [
            Bar(f"2009-03-0{day}", Decimal(day), Decimal(day + 1), Decimal(day), Decimal(day), 100)
            for day in (2, 3, 4)
        ]
        for symbol in ("AAPL", "IBM")
    }
    return Replay(
        bars,
        dict.fromkeys(bars, CENT),
        started_at=STARTED_AT,
        session_seconds=session_seconds,
        seed=1,
    )


def test_the_same_tick_of_two_replays_shows_the_same_prices() -> None:
    first, second = make_replay(), make_replay()
    backwards = [second.ticks(number) for number in reversed(range(60))]
    assert [first.ticks(number) for number in range(60)] == backwards[::-1]


def test_the_replay_starts_over_with_a_marker_after_its_last_session() -> None:
    replay = make_replay()
    ticks = [replay.ticks(number)[0] for number in range(70)]
    assert [number for number, tick in enumerate(ticks) if tick.reset] == [30, 60]
    assert [ticks[29].date, ticks[30].date] == ["2009-03-04", "2009-03-02"]
    assert ticks[30].session == 3


def test_a_session_lasts_as_long_as_it_is_told() -> None:
    replay = make_replay(session_seconds=600)
    assert replay.session_at(STARTED_AT + timedelta(seconds=599.9)) == 0
    assert replay.session_at(STARTED_AT + timedelta(seconds=600)) == 1
    assert replay.session_at(STARTED_AT - timedelta(hours=1)) == 0


def test_the_shipped_bars_are_complete_and_consistent() -> None:
    demo = read_demo(DEMO)
    bars = read_bars(demo.bars_path)
    assert {symbol: len(rows) for symbol, rows in bars.items()} == dict.fromkeys(
        ("AAPL", "GOOG", "IBM", "MSFT"), 1008
    )
    assert {instrument.symbol for instrument in demo.instruments} == set(bars)
    for rows in bars.values():
        assert [rows[0].date, rows[-1].date] == ["2009-03-02", "2013-03-01"]
        assert [row.date for row in rows] == sorted({row.date for row in rows})
        assert all(0 < row.low <= min(row.open, row.close) for row in rows)
        assert all(max(row.open, row.close) <= row.high and row.volume > 0 for row in rows)


def test_the_demo_names_three_accounts_with_a_hundred_thousand_dollars_each() -> None:
    accounts = read_demo(DEMO).accounts
    assert {a.name: (a.project_id, a.opening_cash) for a in accounts} == {
        "Growth": (1001, Decimal(100_000)),
        "Income": (1002, Decimal(100_000)),
        "Reserve": (1003, Decimal(100_000)),
    }


@pytest.mark.parametrize(
    ("moment", "is_trading"),
    [
        ("2026-11-23T14:29:59+00:00", False),
        ("2026-11-23T14:30:00+00:00", True),
        ("2026-11-23T20:59:59+00:00", True),
        ("2026-11-23T21:00:00+00:00", False),
        ("2026-07-06T13:30:00+00:00", True),
        ("2026-11-22T15:00:00+00:00", False),
        # Thanksgiving, and the half day after it.
        ("2026-11-26T15:00:00+00:00", False),
        ("2026-11-27T17:59:59+00:00", True),
        ("2026-11-27T18:00:00+00:00", False),
    ],
)
def test_exchange_hours_are_new_yorks_in_summer_and_winter_without_its_holidays(
    moment: str, is_trading: bool
) -> None:
    now = datetime.fromisoformat(moment)
    assert is_open("exchange", now) is is_trading
    assert is_open("always", now)


def test_exchange_hours_are_those_of_the_calendar() -> None:
    first, last = date(2025, 1, 1), date(2027, 12, 31)
    known = {day: (opens, closes) for day, opens, closes in sessions(first, last)}
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        noon = datetime(day.year, day.month, day.day, 17, tzinfo=UTC)
        opens, closes = known.get(day, (noon, noon))
        second = timedelta(seconds=1)
        edges = [(opens - second, False), (opens, day in known), (closes - second, day in known)]
        for moment, is_trading in [*edges, (closes, False)]:
            assert is_open("exchange", moment) is is_trading, moment
