"""The row of cards: what the chosen accounts are worth, pure figures and their drawing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import streamlit as st
from components import formats
from services.models import AccountSummary

CARD_HEIGHT = 104


@dataclass(frozen=True, slots=True)
class Card:
    """One figure; `way` below or above zero colors the line under it and gives it an arrow."""

    name: str
    value: str
    below: str = ""
    way: Decimal = Decimal(0)
    help: str | None = None


def cards(summaries: Sequence[AccountSummary]) -> list[Card]:
    """A row of cards for each currency: amounts of different money are never added up."""
    found: list[Card] = []
    for currency in sorted({summary.currency for summary in summaries}):
        found += _of([summary for summary in summaries if summary.currency == currency], currency)
    orders = sum(summary.open_orders for summary in summaries)
    return [*found, Card("Working orders", f"{orders:,}")]


def unconverted(summaries: Sequence[AccountSummary], names: Mapping[int, str]) -> str | None:
    """A sentence on what has no exchange rate and is therefore in no figure."""
    found = {row.account_id: row.unconverted for row in summaries if row.unconverted}
    if not found:
        return None
    parts = ", ".join(
        f"{names.get(key, str(key))} ({count} currenc{'y' if count == 1 else 'ies'})"
        for key, count in found.items()
    )
    return f"Without an exchange rate, and left out of all figures here: {parts}."


def rates_of(summaries: Sequence[AccountSummary]) -> str | None:
    """Of when the exchange rates are, where any were used."""
    dates = [row.fx_date for row in summaries if row.fx_date]
    return f"Other currencies at the rates of {min(dates)}." if dates else None


def draw(row: Sequence[Card]) -> None:
    """Cards of one size, with or without a line below the figure."""
    with st.container(key="kpis"):
        for card in row:
            color, arrow = _look(card.way)
            st.metric(
                card.name,
                card.value,
                card.below or None,
                delta_color=color,
                delta_arrow=arrow,
                help=card.help,
                border=True,
                height=CARD_HEIGHT,
            )


def _look(way: Decimal) -> tuple[Literal["green", "red", "off"], Literal["up", "down", "off"]]:
    if not way:
        return "off", "off"
    return ("green", "up") if way > 0 else ("red", "down")


def _of(rows: Sequence[AccountSummary], currency: str) -> list[Card]:
    equity = _sum(row.equity for row in rows)
    unrealized = _sum(row.unrealized_pnl for row in rows)
    exposure = _sum(row.gross_exposure for row in rows)
    day = None
    if all(row.day_pnl is not None for row in rows):
        day = _sum(row.day_pnl or Decimal(0) for row in rows)
    return [
        Card(f"Equity ({currency})", formats.money(equity), *_left_out(rows)),
        Card(
            f"Day P&L ({currency})",
            formats.signed_money(day),
            "" if day is None else formats.percent(_part(day, equity - day), signed=True),
            day or Decimal(0),
            "Since 00:00 UTC, money paid in or out taken off.",
        ),
        Card(
            f"Unrealized P&L ({currency})",
            formats.signed_money(unrealized),
            f"{formats.percent(_part(unrealized, equity), signed=True)} of equity",
            unrealized,
        ),
        Card(
            f"Realized P&L ({currency})",
            formats.signed_money(_sum(row.realized_pnl for row in rows)),
            f"fees {formats.money(_sum(row.fees for row in rows))}",
        ),
        Card(
            f"Exposure ({currency})",
            formats.money(exposure),
            f"{formats.percent(_part(exposure, equity))} of equity",
            help="Gross: long and short positions added up without sign.",
        ),
        Card(f"Cash ({currency})", formats.money(_sum(row.cash for row in rows))),
    ]


def _left_out(rows: Sequence[AccountSummary]) -> tuple[str, Decimal]:
    unpriced = sum(row.unpriced for row in rows)
    unconverted = sum(row.unconverted for row in rows)
    said = [
        *([f"{unpriced} position{'s' if unpriced > 1 else ''} without a price"] * bool(unpriced)),
        *([f"{unconverted} without an exchange rate"] * bool(unconverted)),
    ]
    return ", ".join(said), Decimal(-len(said))


def _part(value: Decimal, whole: Decimal) -> Decimal | None:
    return value / whole if whole else None


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, Decimal(0))
