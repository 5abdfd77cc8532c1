"""When the New York Stock Exchange trades: its sessions, half days and closed days.

The usual library of exchange calendars stands on pandas, which this backend does not load.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays
from holidays.constants import HALF_DAY, PUBLIC

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


def bar_spans(resolution: str, first: date, last: date) -> Iterator[tuple[datetime, datetime]]:
    """Yield the span of each session in which bars are expected; a daily bar is of its UTC day."""
    for day, opening, close in sessions(first, last):
        if resolution == "1d":
            midnight = datetime.combine(day, time(), UTC)
            yield midnight, midnight + timedelta(days=1)
        else:
            yield opening, close
