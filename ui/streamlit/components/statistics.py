"""How the days went, in figures with their definitions; computed by empyrical, pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import empyrical
import numpy as np
import numpy.typing as npt
from components import formats
from services.models import DailyPnl

DAYS_A_YEAR = 252
# Below this the yearly figures are noise, so they are not shown at all.
DAYS_MIN = 20

Returns = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One figure as it is shown, and what it means."""

    name: str
    value: str
    definition: str


def returns(days: Sequence[DailyPnl]) -> Returns:
    """Each day's P&L over the money that worked that day; a day without money is left out."""
    bases = [day.equity_start + max(day.net_flow, Decimal(0)) for day in days]
    working = [float(day.pnl / base) for day, base in zip(days, bases, strict=True) if base > 0]
    return np.array(working, dtype=np.float64)


def falls(days: Sequence[DailyPnl]) -> list[float]:
    """How far each day ended below the best day before it, as a fraction."""
    growth, best, found = 1.0, 1.0, []
    for day in days:
        step = returns([day])
        growth *= 1 + float(step[0]) if step.size else 1.0
        best = max(best, growth)
        found.append(growth / best - 1)
    return found


def statistics(days: Sequence[DailyPnl]) -> list[Statistic]:
    """What is said about the days of one currency."""
    return [*_totals(days), *_returns(returns(days))]


def _totals(days: Sequence[DailyPnl]) -> list[Statistic]:
    gains = sum((day.pnl for day in days if day.pnl > 0), Decimal(0))
    losses = -sum((day.pnl for day in days if day.pnl < 0), Decimal(0))
    moved = [day for day in days if day.pnl]
    won = len([day for day in moved if day.pnl > 0])
    return [
        Statistic("P&L", formats.signed_money(gains - losses), "Gains less losses, fees included."),
        Statistic(
            "Winning days",
            formats.percent(won / len(moved)) if moved else formats.NONE,
            "Days with a gain among the days that moved at all.",
        ),
        Statistic(
            "Profit factor",
            f"{gains / losses:.2f}" if losses else formats.NONE,
            "What the winning days made over what the losing days lost.",
        ),
        Statistic(
            "Fees",
            formats.money(sum((day.fees for day in days), Decimal(0))),
            "What the broker charged; already taken off the P&L.",
        ),
        Statistic("Executions", f"{sum(day.executions for day in days):,}", "Fills in the period."),
    ]


def _returns(series: Returns) -> list[Statistic]:
    total = float(empyrical.cum_returns_final(series)) if series.size else None
    fall = float(empyrical.max_drawdown(series)) if series.size else None
    return [
        Statistic(
            "Return",
            formats.percent(total, signed=True),
            "Daily returns compounded; a day's return is its P&L over the equity at its start "
            "and what was paid in that day.",
        ),
        Statistic(
            "Maximum drawdown",
            formats.percent(fall),
            "The deepest fall from a best day to a later day's end.",
        ),
        Statistic(
            "Volatility",
            _yearly(series, empyrical.annual_volatility, formats.percent),
            f"Standard deviation of daily returns, times the root of {DAYS_A_YEAR}.",
        ),
        Statistic(
            "Sharpe ratio",
            _yearly(series, empyrical.sharpe_ratio, _ratio),
            f"Mean over standard deviation of daily returns, times the root of {DAYS_A_YEAR}; "
            "the riskless return is taken as 0.",
        ),
        Statistic(
            "Sortino ratio",
            _yearly(series, empyrical.sortino_ratio, _ratio),
            "As Sharpe, over the deviation of the losing days alone.",
        ),
    ]


def _ratio(value: float) -> str:
    return f"{value:.2f}".replace("-", formats.MINUS)


def _yearly(series: Returns, figure: Callable[..., Any], text: Callable[[float], str]) -> str:
    """A yearly figure, when there are days enough and they differ."""
    if series.size < DAYS_MIN or not np.ptp(series):
        return formats.NONE
    with np.errstate(all="ignore"):
        value = float(figure(series, annualization=DAYS_A_YEAR))
    return text(value) if np.isfinite(value) else formats.NONE
