"""What the book is made of: orders with all that happened to them, positions, money."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

ZERO = Decimal(0)
CENT = Decimal("0.01")
FEE_PER_SHARE, FEE_MIN, FEE_MAX_RATE = Decimal("0.005"), Decimal("1.00"), Decimal("0.01")
# By whether there is a limit, and a stop.
ORDER_TYPES = {
    (False, False): "market",
    (True, False): "limit",
    (False, True): "stop",
    (True, True): "stop_limit",
}


class Refused(Exception):
    """An order that stays as it is."""


@dataclass(frozen=True)
class Event:
    """One thing that happened to an order; a fill when quantity is not zero."""

    order_id: int
    event_id: int
    status: str
    at: datetime
    quantity: Decimal
    price: Decimal
    fee: Decimal
    message: str
    # What the order asked for when this happened.
    order_quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    # Above zero: the venue has corrected this fill so often; a bust has no quantity left.
    revision: int = 0


@dataclass
class Order:
    """One order at the venue, with all that happened to it."""

    order_id: int
    project_id: int
    tag: str
    symbol: str
    side: str
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    time_in_force: str
    expires_at: datetime | None
    session: int
    at: datetime
    triggered: bool = False
    status: str = "new"
    filled: Decimal = ZERO
    notional: Decimal = ZERO
    fees: Decimal = ZERO
    events: list[Event] = field(default_factory=list)

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def order_type(self) -> str:
        """What it is by the prices it has."""
        return ORDER_TYPES[self.limit_price is not None, self.stop_price is not None]

    @property
    def left(self) -> Decimal:
        return self.quantity - self.filled


@dataclass
class Position:
    """Signed quantity, and what it cost, of one instrument in one account."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    def add(self, quantity: Decimal, price: Decimal) -> None:
        """Take in a fill; reducing keeps the average price, crossing zero starts a new one."""
        after = self.quantity + quantity
        if self.quantity * quantity >= 0:
            self.cost += quantity * price
        elif after * self.quantity > 0:
            self.cost = self.cost * after / self.quantity
        else:
            self.cost = after * price
        self.quantity = after


@dataclass
class Account:
    """Cash and positions of one project."""

    cash: Decimal = ZERO
    positions: dict[str, Position] = field(default_factory=lambda: defaultdict(Position))


def commission(quantity: Decimal, notional: Decimal) -> Decimal:
    """Charge like Interactive Brokers' fixed plan: per share, with a minimum, at most 1 %."""
    fee = min(max(FEE_MIN, quantity * FEE_PER_SHARE), notional * FEE_MAX_RATE)
    return fee.quantize(CENT, ROUND_HALF_UP)


def price_of(text: str | None) -> Decimal | None:
    """Read a price of a record."""
    return None if text is None else Decimal(text)


def text_of(price: Decimal | None) -> str | None:
    """Write a price into a record."""
    return None if price is None else str(price)


def worth_of(order: Order, last: Decimal) -> Decimal:
    """What a share of a working order may come to; a stop is bought above the market."""
    return order.limit_price or max(order.stop_price or last, last)
