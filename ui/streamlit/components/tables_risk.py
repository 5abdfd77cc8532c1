"""Tables of risk and results from rows: pure, exact decimals below, the text laid over them."""

from collections.abc import Callable, Sequence

import pandas as pd
from components import formats, tables
from components.palette import Palette
from components.tables import Names
from pandas.io.formats.style import Styler
from services.models import Alert, LimitUsage
from services.models_reports import Attribution, ExecutionCosts, SpanPart

LIMITS = {
    "order_quantity": "Largest open order, quantity",
    "order_notional": "Largest open order, value",
    "position_quantity": "Largest position if all filled",
    "open_orders": "Open orders",
    "orders_per_minute": "Orders a minute",
    "daily_loss": "Loss of the day",
    "gross_exposure": "Gross exposure",
}
MONEY = frozenset({"order_notional", "daily_loss", "gross_exposure"})
ALERTS = {
    "denied": "denied by our rules",
    "rejected": "rejected by the broker",
    "lost": "lost, an operator is needed",
    "overfill": "filled for more than ordered; booked as the broker reported it",
    "late_fill": "filled after it had ended",
    "corrected": "a fill was corrected or taken back",
    "stale_price": "held at a price that is too old",
    "no_price": "held without any price",
    "integrity_break": "differs from what executions and movements make it",
    "recon_break": "differs at the broker; the account may only reduce until it is resolved",
}
NO_STRATEGY = "none"


def limits(rows: Sequence[LimitUsage], names: Names) -> pd.DataFrame:
    """How much of each limit is used, the closest to its end first."""
    return pd.DataFrame(
        {
            "Limit": [LIMITS.get(row.name, row.name) for row in rows],
            "Used": [None if row.use is None else float(row.use) for row in rows],
            "Of": [_of(row) for row in rows],
            "Account": [names.get(row.account_id, str(row.account_id)) for row in rows],
        }
    )


def alerts(rows: Sequence[Alert], names: Names) -> pd.DataFrame:
    """What needs a look, newest first."""
    return pd.DataFrame(
        {
            "Since (UTC)": [formats.stamp(row.alert_at) for row in rows],
            "What": [_alert(row) for row in rows],
            "Symbol": [row.symbol for row in rows],
            "Order": [None if row.order_id is None else str(row.order_id) for row in rows],
            "Account": [names.get(row.account_id, str(row.account_id)) for row in rows],
        }
    )


def parts(rows: Sequence[SpanPart], names: Names, palette: Palette) -> Styler:
    """What each symbol and strategy made in a span of time, fees taken off."""
    frame = pd.DataFrame(
        {
            "Symbol": [row.symbol for row in rows],
            "Strategy": [row.strategy or NO_STRATEGY for row in rows],
            "P&L": tables.cells([row.pnl for row in rows]),
            "Fees": tables.cells([row.fees for row in rows]),
            "Traded": tables.cells([row.traded for row in rows]),
            "Held at start": tables.cells([row.quantity_start for row in rows], formats.STEP_MIN),
            "Held now": tables.cells([row.quantity for row in rows], formats.STEP_MIN),
            "Currency": [row.currency for row in rows],
            "Account": [names.get(row.account_id, str(row.account_id)) for row in rows],
        }
    )
    texts = {
        "P&L": tables.pnl,
        "Fees": formats.money,
        "Traded": formats.money,
        "Held at start": formats.quantity,
        "Held now": formats.quantity,
    }
    return tables.colored(tables.styled(frame, texts), ["P&L"], palette)


def attribution(rows: Sequence[Attribution], names: Names, palette: Palette) -> Styler:
    """Where profit and loss come from, by symbol and strategy."""
    frame = pd.DataFrame(
        {
            "Symbol": [row.symbol for row in rows],
            "Strategy": [row.strategy or NO_STRATEGY for row in rows],
            "P&L": tables.cells([row.pnl for row in rows]),
            "Realized": tables.cells([row.realized_pnl for row in rows]),
            "Unrealized": tables.cells([row.unrealized_pnl for row in rows]),
            "Fees": tables.cells([row.fees for row in rows]),
            "Quantity": tables.cells([row.quantity for row in rows], formats.STEP_MIN),
            "Currency": [row.currency for row in rows],
            "Account": [names.get(row.account_id, str(row.account_id)) for row in rows],
        }
    )
    texts = {
        "P&L": tables.pnl,
        "Realized": tables.pnl,
        "Unrealized": tables.pnl,
        "Fees": formats.money,
        "Quantity": formats.quantity,
    }
    return tables.colored(tables.styled(frame, texts), ["P&L", "Realized", "Unrealized"], palette)


def costs(rows: Sequence[ExecutionCosts]) -> Styler:
    """What trading cost, by symbol; a positive slippage was paid."""
    frame = pd.DataFrame(
        {
            "Symbol": [row.symbol for row in rows],
            "Orders": [row.orders for row in rows],
            "Filled": [row.fill_rate for row in rows],
            "Traded": tables.cells([row.notional for row in rows]),
            "Slippage": tables.cells([row.slippage for row in rows]),
            "Slippage (bps)": [row.slippage_bps for row in rows],
            "Fees": tables.cells([row.fees for row in rows]),
            "Fees (bps)": [row.fees_bps for row in rows],
            "Time to fill": [row.time_to_fill_s for row in rows],
            "Currency": [row.currency for row in rows],
        }
    )
    texts: dict[str, Callable[..., str]] = {
        "Filled": formats.percent,
        "Traded": formats.money,
        "Slippage": formats.signed_money,
        "Slippage (bps)": formats.bps,
        "Fees": formats.money,
        "Fees (bps)": formats.bps,
        "Time to fill": formats.duration,
    }
    return tables.styled(frame, texts)


def _of(row: LimitUsage) -> str:
    if row.name in MONEY:
        return f"{formats.money(row.allowed)} {row.currency}"
    return formats.quantity(row.allowed)


def _alert(row: Alert) -> str:
    sign = "⛔" if row.severity == "error" else "⚠"
    about = f"{row.side} {formats.quantity(row.quantity)}" if row.side else row.symbol
    what = f"{sign} {about}: {ALERTS.get(row.kind, row.kind)}"
    why = formats.reason(row.reason_code) or row.detail
    return f"{what}. {why}" if why else what
