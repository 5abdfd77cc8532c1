"""LEAN's values: states, types and fields under its names, and how the venue's translate."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from types import SimpleNamespace
from typing import ClassVar

from paper.market import NEW_YORK
from paper.orders import Event, Order


class OrderStatus(IntEnum):
    """LEAN's order states."""

    NEW = 0
    SUBMITTED = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    CANCELED = 5
    NONE = 6
    INVALID = 7
    CANCEL_PENDING = 8
    UPDATE_SUBMITTED = 9


class BrokerageName(IntEnum):
    """Whose rules an algorithm expects, under LEAN's numbers."""

    DEFAULT = 0
    QUANT_CONNECT_BROKERAGE = 0
    INTERACTIVE_BROKERS_BROKERAGE = 1


class AccountType(IntEnum):
    """With whose money it trades."""

    MARGIN = 0
    CASH = 1


class Resolution(IntEnum):
    """How fine the data of a subscription is."""

    TICK = 0
    SECOND = 1
    MINUTE = 2
    HOUR = 3
    DAILY = 4


class OrderType(IntEnum):
    """LEAN's order types, as far as the venue takes them."""

    MARKET = 0
    LIMIT = 1
    STOP_MARKET = 2
    STOP_LIMIT = 3


class OrderField(IntEnum):
    """What not every order has."""

    LIMIT_PRICE = 0
    STOP_PRICE = 1


class TimeInForce:
    """How long an order works."""

    DAY: ClassVar["TimeInForce"]
    GOOD_TIL_CANCELED: ClassVar["TimeInForce"]

    def __init__(self, name: str, expires_at: datetime | None = None) -> None:
        self.name, self.expires_at = name, expires_at


TimeInForce.DAY = TimeInForce("day")
TimeInForce.GOOD_TIL_CANCELED = TimeInForce("gtc")


class GoodTilDateTimeInForce(TimeInForce):
    """Until a moment, which LEAN takes as the exchange's local time."""

    def __init__(self, expiry: datetime) -> None:
        self.expiry = expiry
        super().__init__("gtd", expiry.replace(tzinfo=NEW_YORK).astimezone(UTC))


class OrderProperties:
    """What goes along with an order."""

    def __init__(self) -> None:
        self.time_in_force = TimeInForce.GOOD_TIL_CANCELED


class UpdateOrderFields:
    """What is to change of an order; None stays. The quantity is signed."""

    quantity: float | None = None
    limit_price: float | None = None
    stop_price: float | None = None


class Symbol:
    """A security's identity; only its ticker matters here."""

    def __init__(self, value: str) -> None:
        self.value = value


STATUS_OF = {
    "new": OrderStatus.NEW,
    "accepted": OrderStatus.SUBMITTED,
    "partially_filled": OrderStatus.PARTIALLY_FILLED,
    "filled": OrderStatus.FILLED,
    "replaced": OrderStatus.UPDATE_SUBMITTED,
    "canceled": OrderStatus.CANCELED,
    # LEAN tells the end of a day order by its message alone.
    "expired": OrderStatus.CANCELED,
    "rejected": OrderStatus.INVALID,
}


TYPE_OF = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop": OrderType.STOP_MARKET,
    "stop_limit": OrderType.STOP_LIMIT,
}


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def decimal_of(number: float) -> Decimal:
    """Take a float back to the shortest decimal it stands for, without idle zeros."""
    value = Decimal(repr(float(number)))
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value


def float_of(number: Decimal | None) -> float | None:
    """Hand a number out as pythonnet does, if there is one."""
    return None if number is None else float(number)


def order_event(event: Event, sign: int) -> SimpleNamespace:
    """LEAN's OrderEvent of one thing that happened at the venue."""
    amount = SimpleNamespace(amount=float(event.fee), currency="USD" if event.fee else "QCC")
    return SimpleNamespace(
        order_id=event.order_id,
        id=event.event_id,
        status=STATUS_OF[event.status],
        utc_time=_utc(event.at),
        fill_quantity=float(event.quantity),
        fill_price=float(event.price),
        order_fee=SimpleNamespace(value=amount),
        message=event.message,
        quantity=float(sign * event.order_quantity),
        limit_price=float_of(event.limit_price),
        stop_price=float_of(event.stop_price),
    )


def lean_order(order: Order, tag: str) -> SimpleNamespace:
    """LEAN's Order of one order at the venue."""
    return SimpleNamespace(
        id=order.order_id,
        broker_id=[str(order.order_id)],
        tag=tag,
        status=STATUS_OF[order.status],
        symbol=Symbol(order.symbol),
        quantity=float(order.sign * order.quantity),
        type=TYPE_OF[order.order_type],
    )
