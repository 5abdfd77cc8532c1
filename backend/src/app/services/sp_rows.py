"""What the procedures of the API take and return, as the rest of the application sees it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID


class Caller(Protocol):
    """Who calls: what the procedures check against the tables."""

    @property
    def user_id(self) -> UUID:
        """The user's id."""

    @property
    def session_handle(self) -> str:
        """The session's handle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """What a client asks for, parsed."""

    client_order_id: str
    account_id: int
    symbol: str
    side: str
    order_type: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    time_in_force: str
    expires_at: datetime | None
    strategy_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a replace asks for; null is unchanged."""

    quantity: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderResult:
    """The composite app.order_result."""

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
    quantity_max: Decimal | None
    # Why a replace was denied; the order is as it was.
    replace_denied: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPreview:
    """What an order would do; without a reason code it would be accepted."""

    reason_code: str | None
    quantity_max: Decimal | None
    currency: str
    notional: Decimal | None
    estimated_fee: Decimal | None
    mark_price: Decimal | None
    mark_age_s: float | None
    position_before: Decimal
    position_after: Decimal
    cash_before: Decimal
    cash_after: Decimal | None
    order_quantity_max: Decimal | None
    order_notional_max: Decimal | None
    price_collar: Decimal | None
    open_orders: int
    position_if_filled: Decimal
    position_quantity_max: Decimal | None
    account_open_orders: int
    open_orders_max: int | None
    orders_in_minute: int
    orders_per_minute_max: int | None
    user_orders_in_minute: int
    user_orders_per_minute_max: int
    daily_loss: Decimal
    daily_loss_max: Decimal | None
    buying_power_needed: Decimal | None
    buying_power: Decimal | None
    equity: Decimal
    leverage_max: Decimal | None


@dataclass(frozen=True, slots=True)
class SessionKey:
    """A session as somebody saw it: its handle, and whose it is."""

    session_handle: str
    user_id: UUID


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session and the role of its user now; without a role it is over."""

    session_handle: str
    user_id: UUID
    role: str | None


@dataclass(frozen=True, slots=True)
class SessionUser:
    """The user behind a live session, as the tables know him."""

    user_id: UUID
    email: str
    role: str


@dataclass(frozen=True, slots=True)
class LastPrice:
    """The one mark of an instrument."""

    symbol: str
    price: Decimal
    source: str
    source_at: datetime
    received_at: datetime
