"""What the reports show beside the days: rows of the reporting views, exact and frozen."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class MonthlyPnl:
    """A month of the chosen accounts together, per currency; the return is a fraction."""

    month: date
    currency: str
    days: int
    pnl: Decimal
    monthly_return: float | None


@dataclass(frozen=True, slots=True)
class Attribution:
    """What an account made in a symbol, for a strategy or without one, since it was opened."""

    account_id: int
    symbol: str
    strategy: str | None
    currency: str
    quantity: Decimal
    realized_pnl: Decimal
    # None without a last price.
    unrealized_pnl: Decimal | None
    fees: Decimal
    pnl: Decimal | None


@dataclass(frozen=True, slots=True)
class SpanPart:
    """What an account made in a symbol, for a strategy or without one, in a span up to now."""

    account_id: int
    symbol: str
    strategy: str | None
    currency: str
    quantity_start: Decimal
    quantity: Decimal
    # Value bought and sold within it.
    traded: Decimal
    fees: Decimal
    # Fees taken off; None without a price at its beginning or now.
    pnl: Decimal | None


@dataclass(frozen=True, slots=True)
class ExecutionCosts:
    """What trading a symbol cost, of orders placed in a span; a positive slippage is a cost."""

    symbol: str
    currency: str
    orders: int
    filled: int
    fill_rate: Decimal
    notional: Decimal
    # None where no price at placing is known.
    slippage: Decimal | None
    slippage_bps: Decimal | None
    fees: Decimal
    fees_bps: Decimal | None
    # The median of the orders that are filled.
    time_to_fill_s: float | None


@dataclass(frozen=True, slots=True)
class AuditLink:
    """A link of the audit chain; stream 0 is the system's, the others are accounts."""

    stream_id: int
    seq: int
    recorded_at: datetime
    actor: str
    action: str
    detail: str
    db_user: str
    prev_hash: str
    hash: str
