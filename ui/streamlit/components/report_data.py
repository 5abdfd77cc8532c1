"""All that a report says, read once for the screen and for the files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

from components import paging, panel
from services import ro_db
from services.models import DailyPnl, Execution, User
from services.models_reports import Attribution, AuditLink, ExecutionCosts, MonthlyPnl, SpanPart

PERIODS = {"1W": 7, "1M": 30, "3M": 91, "1Y": 365, "All": 3_650}
TRADES_MAX = 200
# The stream of what belongs to no account.
SYSTEM = 0


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of UTC; today counts as far as it has come."""

    name: str
    first: date
    last: date

    @property
    def since(self) -> datetime:
        """Where it begins."""
        return datetime.combine(self.first, time(), UTC)

    @property
    def until(self) -> datetime:
        """Where it ends, itself not within."""
        return datetime.combine(self.last + timedelta(days=1), time(), UTC)

    @property
    def text(self) -> str:
        """`2026-11-01_2026-11-30`, for the name of a file."""
        return f"{self.first:%Y-%m-%d}_{self.last:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Report:
    """What the sections of a report show."""

    months: Sequence[MonthlyPnl]
    parts: Sequence[SpanPart]
    attribution: Sequence[Attribution]
    costs: Sequence[ExecutionCosts]
    trades: Sequence[Execution]


def period(name: str, now: datetime) -> Period:
    """So many days, the last of them today."""
    today = now.astimezone(UTC).date()
    return Period(name, today - timedelta(days=PERIODS[name] - 1), today)


def days(user: User, ids: tuple[int, ...], span: Period) -> panel.Reading[list[DailyPnl]] | None:
    """The days; None when they cannot be read, which is said."""
    return panel.read("days", ro_db.daily_pnl, user, ids, from_day=span.first, to_day=span.last)


def read(user: User, ids: tuple[int, ...], span: Period) -> panel.Reading[Report] | None:
    """The rest; None when some of it cannot be read, which is said."""
    return panel.read("report", _report, user, ids, span)


def _report(user: User, ids: tuple[int, ...], span: Period) -> Report:
    return Report(
        months=ro_db.pnl_monthly(user, ids, span.first, span.last),
        parts=ro_db.attribution_since(user, ids, span.since),
        attribution=ro_db.attribution(user, ids),
        costs=ro_db.execution_costs(user, ids, span.since, span.until),
        trades=ro_db.executions(user, ids, TRADES_MAX, span.since, span.until),
    )


def files(
    user: User, ids: tuple[int, ...], span: Period
) -> Mapping[str, tuple[str, type[Any], Callable[[], Sequence[Any]]]]:
    """What can be taken along: name of the file, kind of row, and how all rows are read."""
    first, last = span.first, span.last
    known: dict[str, tuple[str, type[Any], Callable[[], Sequence[Any]]]] = {
        "Executions": (
            "executions",
            Execution,
            lambda: paging.fills(partial(ro_db.executions, user, ids), span.since, span.until),
        ),
        "Days": ("daily_pnl", DailyPnl, lambda: ro_db.daily_pnl(user, ids, first, last)),
        "Months": ("monthly_pnl", MonthlyPnl, lambda: ro_db.pnl_monthly(user, ids, first, last)),
        "Attribution": (
            "attribution",
            SpanPart,
            lambda: ro_db.attribution_since(user, ids, span.since),
        ),
        "Attribution ever": ("attribution_ever", Attribution, lambda: ro_db.attribution(user, ids)),
        "Costs": (
            "execution_costs",
            ExecutionCosts,
            lambda: ro_db.execution_costs(user, ids, span.since, span.until),
        ),
    }
    if user.role == "admin":
        audit = partial(ro_db.audit_extract, user, (SYSTEM, *ids), span.since, span.until)
        known["Audit log"] = ("audit_log", AuditLink, lambda: paging.links(audit))
    return known
