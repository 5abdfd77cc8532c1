"""When the New York Stock Exchange trades: its sessions, half days and closed days.

`market.calendar` is filled from here again and again, because rules change and days of mourning are
announced. The usual library of exchange calendars stands on pandas, which this backend does not
load.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays
from holidays.constants import HALF_DAY, PUBLIC

EXCHANGE = "XNYS"
NEW_YORK = ZoneInfo("America/New_York")
OPEN, CLOSE, EARLY_CLOSE = time(9, 30), time(16), time(13)


def sessions(first: date, last: date) -> Iterator[tuple[date, datetime, datetime]]:
    """Yield each trading day of a span, both ends included, with its opening and its close."""
    years = range(first.year, last.year + 1)
    closed = holidays.financial_holidays("NYSE", years=years, categories=PUBLIC)
    halves = holidays.financial_holidays("NYSE", years=years, categories=HALF_DAY)
    day = first
    while day <= last:
        if day.isoweekday() <= 5 and day not in closed:
            close = EARLY_CLOSE if day in halves else CLOSE
            yield (
                day,
                datetime.combine(day, OPEN, NEW_YORK),
                datetime.combine(day, close, NEW_YORK),
            )
        day += timedelta(days=1)


@dataclass(frozen=True)
class Calendar:
    """The sessions of whole years, as `sp_calendar_put` takes them."""

    first: date
    last: date
    days: list[date]
    opens_at: list[datetime]
    closes_at: list[datetime]
    early: list[bool]

    def arguments(self) -> list[object]:
        """Return them in the order of the procedure's arguments, behind the actor."""
        columns = (self.days, self.opens_at, self.closes_at, self.early)
        return [EXCHANGE, self.first, self.last, *columns]


def calendar_around(today: date) -> Calendar:
    """Return last year, this one and the next."""
    return calendar_of(today.year - 1, today.year + 1)


def calendar_of(first_year: int, last_year: int) -> Calendar:
    """Return the sessions of these years, both included."""
    first, last = date(first_year, 1, 1), date(last_year, 12, 31)
    found = list(sessions(first, last))
    return Calendar(
        first,
        last,
        days=[day for day, _, _ in found],
        opens_at=[opening for _, opening, _ in found],
        closes_at=[close for _, _, close in found],
        early=[close.astimezone(NEW_YORK).time() < CLOSE for _, _, close in found],
    )


def bar_spans(resolution: str, first: date, last: date) -> Iterator[tuple[datetime, datetime]]:
    """Yield the span of each session in which bars are expected; a daily bar is of its UTC day."""
    for day, opening, close in sessions(first, last):
        if resolution == "1d":
            midnight = datetime.combine(day, time(), UTC)
            yield midnight, midnight + timedelta(days=1)
        else:
            yield opening, close
