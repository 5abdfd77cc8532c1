"""The replayed market: real daily bars, walked through second by second along a seeded path."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import holidays
from holidays.constants import HALF_DAY, PUBLIC

NEW_YORK = ZoneInfo("America/New_York")
OPENS_AT, CLOSES_AT, CLOSES_EARLY_AT = time(9, 30), time(16), time(13)


@dataclass(frozen=True)
class Bar:
    """One session of one instrument."""

    date: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


@dataclass(frozen=True)
class Tick:
    """What the market shows at one second of the replay."""

    symbol: str
    price: Decimal
    volume: Decimal
    session: int
    date: str
    # First tick after the last historical session was replayed: prices jump back by years.
    reset: bool


def read_bars(path: Path) -> dict[str, list[Bar]]:
    """Read the extract; every symbol has the same sessions in the same order."""
    bars: dict[str, list[Bar]] = {}
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            prices = {name: Decimal(row[name]) for name in ("open", "high", "low", "close")}
            bar = Bar(date=row["date"], volume=int(row["volume"]), **prices)
            bars.setdefault(row["symbol"], []).append(bar)
    dates = {tuple(bar.date for bar in rows) for rows in bars.values()}
    if len(dates) != 1:
        raise ValueError(f"{path}: the symbols do not have the same sessions")
    return bars


def path_of(bar: Bar, ticks: int, seed: str, tick_size: Decimal) -> list[Decimal]:
    """Walk from open to close in `ticks` steps, touching high and low, never leaving them.

    Everything inside the day but the four prices is synthetic and follows from the seed alone.
    """
    random = Random(seed)  # noqa: S311 - prices, not secrets
    inner = sorted(random.sample(range(1, ticks - 1), 2))
    extremes = [bar.high, bar.low] if random.random() < 0.5 else [bar.low, bar.high]
    corners = [(0, bar.open), *zip(inner, extremes, strict=True), (ticks - 1, bar.close)]
    low, high = float(bar.low), float(bar.high)
    path = [float(bar.open)]
    for (start, first), (end, last) in pairwise(corners):
        leg = _leg(random, end - start, float(first), float(last), (high - low) / 40)
        path += [_folded(price, low, high) for price in leg]
    for position, price in corners:
        path[position] = float(price)
    return [_on_tick(price, tick_size) for price in path]


def _leg(random: Random, steps: int, first: float, last: float, noise: float) -> Iterator[float]:
    """Walk a Brownian bridge, which moves as much near its ends as in its middle."""
    price = first
    for left in range(steps, 0, -1):
        price += (last - price) / left + random.gauss(0, noise)
        yield price


def _folded(price: float, low: float, high: float) -> float:
    """Turn back at high and low. Cut off there instead, a price would stand still for minutes."""
    if low == high:
        return low
    beyond = (price - low) % (2 * (high - low))
    return low + min(beyond, 2 * (high - low) - beyond)


def _on_tick(price: float, tick_size: Decimal) -> Decimal:
    return (Decimal(repr(price)) / tick_size).quantize(Decimal(1)) * tick_size


class Replay:
    """One historical session per `session_seconds`, a tick each second, round and round."""

    def __init__(
        self,
        bars: dict[str, list[Bar]],
        tick_sizes: dict[str, Decimal],
        *,
        started_at: datetime,
        session_seconds: int,
        seed: int,
    ) -> None:
        self._bars, self._tick_sizes, self._seed = bars, tick_sizes, seed
        self._started_at, self._seconds = started_at, session_seconds
        self.sessions = len(next(iter(bars.values())))
        self._paths: dict[tuple[str, int], list[Decimal]] = {}

    def number_at(self, now: datetime) -> int:
        """The tick that is current, counted from the start of the replay."""
        return max(0, int((now - self._started_at).total_seconds()))

    def session_at(self, now: datetime) -> int:
        """The session that is current, counted from the start of the replay."""
        return self.number_at(now) // self._seconds

    def ticks(self, number: int) -> list[Tick]:
        """What every instrument shows at one tick; the same for the same number, always."""
        session, second = divmod(number, self._seconds)
        day = session % self.sessions
        reset = session > 0 and day == 0 and second == 0
        return [
            Tick(
                symbol,
                self._path(symbol, day)[second],
                Decimal(rows[day].volume) / self._seconds,
                session,
                rows[day].date,
                reset,
            )
            for symbol, rows in self._bars.items()
        ]

    def _path(self, symbol: str, day: int) -> list[Decimal]:
        if (symbol, day) not in self._paths:
            # Only the running session's paths are kept.
            self._paths = {key: path for key, path in self._paths.items() if key[1] == day}
            seed = f"{self._seed}-{symbol}-{day}"
            self._paths[symbol, day] = path_of(
                self._bars[symbol][day], self._seconds, seed, self._tick_sizes[symbol]
            )
        return self._paths[symbol, day]


def is_open(market_hours: str, now: datetime) -> bool:
    """Tell whether orders match: always, or while the New York Stock Exchange trades."""
    if market_hours == "always":
        return True
    local = now.astimezone(NEW_YORK)
    closed, halves = _holidays(local.year)
    if local.weekday() >= 5 or local.date() in closed:
        return False
    closes_at = CLOSES_EARLY_AT if local.date() in halves else CLOSES_AT
    return OPENS_AT <= local.time() < closes_at


@cache
def _holidays(year: int) -> tuple[set[date], set[date]]:
    """Return a year's closed days and half days, of the library that fills market.calendar."""
    closed = holidays.financial_holidays("NYSE", years=year, categories=PUBLIC)
    halves = holidays.financial_holidays("NYSE", years=year, categories=HALF_DAY)
    return {*closed}, {*halves}


def utc_now() -> datetime:
    """The wall clock: orders live in real time, whatever day is replayed."""
    return datetime.now(UTC)
