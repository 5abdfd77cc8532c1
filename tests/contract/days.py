"""Compares the figures of the Reports page with those of quantstats, on random days."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

from components.statistics import DAYS_MIN, figures
from contract.comparing import Answers, asked
from services.models import DailyPnl

TOLERANCE = 1e-12
DAYS = (DAYS_MIN, 756)


def series(seed: int, count: int) -> list[list[DailyPnl]]:
    """Make series of days: quiet ones, deposits and withdrawals among them."""
    return [_days(Random(f"days {seed}/{number}")) for number in range(count)]


def _days(random: Random) -> list[DailyPnl]:
    start = Decimal(random.randint(10_000, 10_000_000))
    drift, spread = random.gauss(0, 0.001), random.choice((0.0005, 0.005, 0.02))
    days = []
    for number in range(random.randint(*DAYS)):
        flow = Decimal(random.randint(-10, 30) * 1000) if random.random() < 0.03 else Decimal(0)
        moved = random.gauss(drift, spread) if random.random() < 0.95 else 0.0
        pnl = Decimal(round(float(start) * moved * 100)).scaleb(-2)
        end = start + flow + pnl
        day = date(2024, 1, 1) + timedelta(days=number)
        days.append(DailyPnl(day, "USD", start, end, flow, pnl, Decimal(0), 1, Decimal(0)))
        start = max(end, Decimal(10_000))
    return days


def ask(rows: Sequence[Sequence[DailyPnl]]) -> Answers:
    """Ask quantstats; the returns are worked out here, apart from ours."""
    return asked("quantstats", [
        {"returns": [*map(_return, days)], "pnl": [float(day.pnl) for day in days]}
        for days in rows
    ])  # fmt: skip


def _return(day: DailyPnl) -> float:
    return float(Fraction(day.pnl) / Fraction(day.equity_start + max(day.net_flow, Decimal(0))))


def apart(days: Sequence[DailyPnl], said: dict[str, float]) -> dict[str, float]:
    """How far each figure is from what quantstats says: as it is below 1, as a fraction above."""
    ours = asdict(figures(days))
    assert ours.keys() == said.keys()
    found = {}
    for name, value in ours.items():
        if value is None or not math.isfinite(said[name]):
            found[name] = 0.0 if value is None and not math.isfinite(said[name]) else math.inf
        else:
            found[name] = abs(value - said[name]) / max(1.0, abs(said[name]))
    return found
