"""What the pages show: rows of the reporting views and answers of the API, exact and frozen."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class User:
    """Who is signed in, as the gate vouches for him."""

    user_id: str
    role: str
    session_handle: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """An account the user may read, with what he may do there."""

    account_id: int
    name: str
    currency: str
    route: str
    paper: bool
    can_trade: bool
    trading_state: str
    trading_state_reason: str | None
    order_quantity_max: Decimal | None
    order_notional_max: Decimal | None
    price_collar: Decimal | None


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """What an account is worth now, in its currency.

    What has no value in it is left out: `unpriced` open positions without any price, and
    `unconverted` currencies without a rate.
    """

    account_id: int
    currency: str
    cash: Decimal
    market_value: Decimal
    equity: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    fees: Decimal
    # Value of long and short positions added up without sign.
    gross_exposure: Decimal
    # Since the UTC day began, money paid in or out taken off; None without history.
    day_pnl: Decimal | None
    open_orders: int
    unpriced: int
    unconverted: int
    # The day of the oldest rate used for other currencies; None when none is needed.
    fx_date: date | None
    # Of the oldest price that counts here; None without an open position.
    price_received_at: datetime | None


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds of an instrument; quantity and cost carry the sign."""

    account_id: int
    symbol: str
    name: str
    currency: str
    tick_size: Decimal
    quantity: Decimal
    average_cost: Decimal | None
    last_price: Decimal | None
    price_received_at: datetime | None
    market_value: Decimal | None
    unrealized_pnl: Decimal | None
    realized_pnl: Decimal
    fees: Decimal
    # At most 60 prices of the last hour, oldest first.
    recent_prices: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """An order in the state the database knows."""

    order_id: int
    client_order_id: str
    account_id: int
    symbol: str
    currency: str
    tick_size: Decimal
    side: str
    order_type: str
    time_in_force: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    status: str
    open: bool
    reason_code: str | None
    quantity_max: Decimal | None
    cum_quantity: Decimal
    leaves_quantity: Decimal
    average_price: Decimal | None
    late_fill: bool
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill."""

    execution_id: int
    order_id: int
    account_id: int
    symbol: str
    tick_size: Decimal
    side: str
    quantity: Decimal
    price: Decimal
    notional: Decimal
    currency: str
    fee: Decimal
    fee_currency: str
    executed_at: datetime


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """What the chosen accounts were worth together at a moment, per currency."""

    equity_at: datetime
    currency: str
    equity: Decimal


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """One thing that happened to an order; origin is order, audit, outbox or execution."""

    event_at: datetime
    recorded_at: datetime
    origin: str
    kind: str
    source: str
    status_before: str | None
    status_after: str | None
    applied: bool
    reason: str | None
    detail: str | None = None
    audit_seq: int | None = None
    audit_hash: str | None = None


@dataclass(frozen=True, slots=True)
class DailyPnl:
    """A UTC day of the chosen accounts together, per currency; pnl has `net_flow` taken off.

    `traded` is the value bought and sold; None when some of it has no exchange rate.
    """

    day: date
    currency: str
    equity_start: Decimal
    equity_end: Decimal
    net_flow: Decimal
    pnl: Decimal
    fees: Decimal
    executions: int
    traded: Decimal | None


@dataclass(frozen=True, slots=True)
class Bar:
    """Prices of an instrument over one step of time."""

    symbol: str
    bar_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Capability:
    """An order type and time in force that the route of an account takes."""

    account_id: int
    order_type: str
    time_in_force: str


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is held by `dimension`, symbol or strategy (name None: without one), per currency."""

    account_id: int
    dimension: str
    name: str | None
    currency: str
    net: Decimal
    gross: Decimal
    unpriced: int


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """How much of a limit of an account is used now; `use` is a fraction."""

    account_id: int
    currency: str
    name: str
    used: Decimal
    allowed: Decimal
    use: Decimal | None


@dataclass(frozen=True, slots=True)
class Alert:
    """What needs a look: an order, a position without a good price, a figure that is wrong."""

    alert_at: datetime
    account_id: int
    kind: str
    severity: str
    order_id: int | None
    # Of a wrong figure, what it is about: a symbol, a currency or an order.
    symbol: str
    side: str | None
    quantity: Decimal | None
    reason_code: str | None
    detail: str | None
    # Of a break with the broker, the number by which it is resolved.
    break_id: int | None = None


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded, with its last price."""

    symbol: str
    name: str
    currency: str
    tick_size: Decimal
    lot_size: Decimal
    tradable: bool
    last_price: Decimal | None
    # replay, quantconnect, ib.
    price_source: str | None
    price_received_at: datetime | None


@dataclass(frozen=True, slots=True)
class Health:
    """How fresh everything is, by the clock of the database."""

    read_at: datetime
    # The newest price of any instrument.
    price_received_at: datetime | None
    price_source: str | None
    # The oldest heartbeat among the bridges of the chosen accounts; None when one never reported.
    link_at: datetime | None
    outbox_pending: int
    outbox_oldest_s: float | None


@dataclass(frozen=True, slots=True)
class MarketClock:
    """Whether an exchange is open, and the session that runs or comes next; None: not known."""

    exchange: str
    is_open: bool | None
    opens_at: datetime | None
    closes_at: datetime | None
    early_close: bool | None
    changes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order as the trader wrote it."""

    account_id: int
    symbol: str
    side: str
    order_type: str
    quantity: Decimal
    limit_price: Decimal | None
    time_in_force: str
    stop_price: Decimal | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replace asks for: the order's new total quantity and prices; None is unchanged."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a limit the order would use."""

    name: str
    used: Decimal
    limit: Decimal


@dataclass(frozen=True, slots=True)
class Preview:
    """What the rules would say of a ticket now; nothing is written."""

    would: str
    reason_code: str | None
    quantity_max: Decimal | None
    notional: Decimal | None
    estimated_fee: Decimal | None
    mark_price: Decimal | None
    mark_age_s: float | None
    position_before: Decimal
    position_after: Decimal
    cash_before: Decimal
    cash_after: Decimal | None
    limits: tuple[LimitUse, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderState:
    """The API's answer about an order: placed, replayed or canceled."""

    order_id: int
    client_order_id: str
    account_id: int
    status: str
    reason_code: str | None
    cum_quantity: Decimal
    average_price: Decimal | None
    replayed: bool
    created_at: datetime
    updated_at: datetime
    quantity_max: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """Where its user is told of news; of the address no more than a hint is ever known here."""

    name: str
    hint: str
    kinds: tuple[str, ...]
    # None: all that the user may see.
    account_ids: tuple[int, ...] | None
    interval_s: int
    enabled: bool
    pending: int = 0
    dead: int = 0
    last_error: str | None = None
    sent_at: datetime | None = None
