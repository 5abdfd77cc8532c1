"""How the days went, in figures with their definitions; computed by empyrical, pure.

`make test-contract` compares the figures with those of another library.
"""

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
class Figures:
    """What is computed of the days of one currency, as fractions; None where it says nothing.

    The riskless return is 0. Figures of a year need DAYS_MIN days, and days that differ.
    """

    total_return: float | None
    max_drawdown: float | None
    # Compounded growth a year: the last wealth over the first, to the power of 252 / days, less 1.
    annual_return: float | None
    # Sample deviation of daily returns (n - 1), times the root of 252.
    annual_volatility: float | None
    # Mean over sample deviation of daily returns, times the root of 252.
    sharpe_ratio: float | None
    # Mean over the root of the mean square of what lies below 0, over all days; times the same.
    sortino_ratio: float | None
    # Of the P&L in money: days with a gain among those that moved; gains over losses.
    win_rate: float | None
    profit_factor: float | None


@dataclass(frozen=True, slots=True)
class Statistic:
    """One figure as it is shown, and what it means."""

    name: str
    value: str
    definition: str


def returns(days: Sequence[DailyPnl]) -> Returns:
    """Each day's P&L over the money that worked that day; a day without money is left out."""
    working = [float(day.pnl / _worked(day)) for day in days if _worked(day) > 0]
    return np.array(working, dtype=np.float64)


def _worked(day: DailyPnl) -> Decimal:
    """The money that worked that day: the equity at its start and what was paid in."""
    return day.equity_start + max(day.net_flow, Decimal(0))


def falls(days: Sequence[DailyPnl]) -> list[float]:
    """How far each day ended below the best day before it, as a fraction."""
    growth, best, found = 1.0, 1.0, []
    for day in days:
        step = returns([day])
        growth *= 1 + float(step[0]) if step.size else 1.0
        best = max(best, growth)
        found.append(growth / best - 1)
    return found


def figures(days: Sequence[DailyPnl]) -> Figures:
    """Compute what the days of one currency were like."""
    series = returns(days)
    gains, losses = _gains_and_losses(days)
    moved = [day for day in days if day.pnl]
    won = len([day for day in moved if day.pnl > 0])
    return Figures(
        total_return=float(empyrical.cum_returns_final(series)) if series.size else None,
        max_drawdown=float(empyrical.max_drawdown(series)) if series.size else None,
        annual_return=_yearly(series, empyrical.annual_return),
        annual_volatility=_yearly(series, empyrical.annual_volatility),
        sharpe_ratio=_yearly(series, empyrical.sharpe_ratio),
        sortino_ratio=_yearly(series, empyrical.sortino_ratio),
        win_rate=won / len(moved) if moved else None,
        profit_factor=float(gains / losses) if losses else None,
    )


def _gains_and_losses(days: Sequence[DailyPnl]) -> tuple[Decimal, Decimal]:
    gains = sum((day.pnl for day in days if day.pnl > 0), Decimal(0))
    return gains, -sum((day.pnl for day in days if day.pnl < 0), Decimal(0))


def _yearly(series: Returns, figure: Callable[..., Any]) -> float | None:
    """A yearly figure, when there are days enough and they differ."""
    if series.size < DAYS_MIN or not np.ptp(series):
        return None
    with np.errstate(all="ignore"):
        value = float(figure(series, annualization=DAYS_A_YEAR))
    return value if np.isfinite(value) else None


def statistics(days: Sequence[DailyPnl]) -> list[Statistic]:
    """What is said about the days of one currency."""
    found = figures(days)
    return [*_totals(days, found), *_returns(found)]


def turnover(days: Sequence[DailyPnl]) -> float | None:
    """What was bought and sold over the mean of what worked each day; None when unknown."""
    worked = [_worked(day) for day in days if _worked(day) > 0]
    traded = [day.traded for day in days if day.traded is not None]
    if not worked or len(traded) < len(days):
        return None
    return float(sum(traded, Decimal(0)) * len(worked) / sum(worked, Decimal(0)))


def _totals(days: Sequence[DailyPnl], found: Figures) -> list[Statistic]:
    gains, losses = _gains_and_losses(days)
    money = f"({days[0].currency})" if days else ""
    return [
        Statistic(
            f"P&L {money}".strip(),
            formats.signed_money(gains - losses),
            "Gains less losses, fees included.",
        ),
        Statistic(
            "Win rate",
            formats.percent(found.win_rate),
            "Days with a gain among the days that moved at all.",
        ),
        Statistic(
            "Profit factor",
            _ratio(found.profit_factor),
            "What the winning days made over what the losing days lost.",
        ),
        Statistic(
            "Turnover",
            formats.percent(turnover(days)),
            "Value bought and sold over the mean equity that worked in the period.",
        ),
        Statistic(
            f"Fees {money}".strip(),
            formats.money(sum((day.fees for day in days), Decimal(0))),
            "What the broker charged; already taken off the P&L.",
        ),
        Statistic("Executions", f"{sum(day.executions for day in days):,}", "Fills in the period."),
    ]


def _returns(found: Figures) -> list[Statistic]:
    return [
        Statistic(
            "Return",
            formats.percent(found.total_return, signed=True),
            "Daily returns compounded; a day's return is its P&L over the equity at its start "
            "and what was paid in that day.",
        ),
        Statistic(
            "Annual return",
            formats.percent(found.annual_return, signed=True),
            f"The growth a year (CAGR) that compounds to the return, {DAYS_A_YEAR} days a year.",
        ),
        Statistic(
            "Maximum drawdown",
            formats.percent(found.max_drawdown),
            "The deepest fall from a best day to a later day's end.",
        ),
        Statistic(
            "Volatility",
            formats.percent(found.annual_volatility),
            f"Standard deviation of daily returns, times the root of {DAYS_A_YEAR}.",
        ),
        Statistic(
            "Sharpe ratio",
            _ratio(found.sharpe_ratio),
            f"Mean over standard deviation of daily returns, times the root of {DAYS_A_YEAR}; "
            "the riskless return is taken as 0.",
        ),
        Statistic(
            "Sortino ratio",
            _ratio(found.sortino_ratio),
            "As Sharpe, over the root of the mean square of the losses, days without loss as 0.",
        ),
    ]


def _ratio(value: float | None) -> str:
    return formats.NONE if value is None else f"{value:.2f}".replace("-", formats.MINUS)
