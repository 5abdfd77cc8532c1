"""The matching core: what the market, orders and cancels make of the book; no clock, no disk.

Every change is a record first. `apply` is the only way state changes, live and when a journal is
read back, so that a restart arrives at the same book.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from paper.journal import Record
from paper.settings import Instrument

ZERO = Decimal(0)
CENT = Decimal("0.01")
PARTICIPATION = Decimal("0.10")  # of a tick's volume goes to our orders
FEE_PER_SHARE, FEE_MIN, FEE_MAX_RATE = Decimal("0.005"), Decimal("1.00"), Decimal("0.01")
OPEN = ("accepted", "partially_filled")
ORDERS_MAX = 200_000


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


@dataclass
class Order:
    """One order at the venue, with all that happened to it."""

    order_id: int
    project_id: int
    tag: str
    symbol: str
    side: str
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    time_in_force: str
    session: int
    at: datetime
    status: str = "new"
    filled: Decimal = ZERO
    notional: Decimal = ZERO
    fees: Decimal = ZERO
    events: list[Event] = field(default_factory=list)

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

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


class Book:
    """Accounts, orders and last prices; methods return the records they led to."""

    def __init__(self, instruments: tuple[Instrument, ...]) -> None:
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.accounts: dict[int, Account] = {}
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.held: dict[str, Decimal] = {}
        self.prices: dict[str, Decimal] = {}
        self._volume: dict[str, Decimal] = {}
        # Outside market hours orders are taken and wait.
        self.is_open = True

    # State.

    def apply(self, record: Record) -> Record:
        """Take in one record, new or read back."""
        if record["kind"] == "account":
            self.accounts[record["project_id"]] = Account(Decimal(record["cash"]))
        elif record["kind"] == "order":
            self._apply_order(record)
        elif record["kind"] == "event":
            self._apply_event(record)
        elif record["kind"] == "hold":
            self.held.pop(record["symbol"], None)
            if record["price"] is not None:
                self.held[record["symbol"]] = Decimal(record["price"])
        return record

    def _apply_order(self, record: Record) -> None:
        limit = record["limit_price"]
        self.orders[record["order_id"]] = Order(
            **{name: record[name] for name in ("order_id", "project_id", "tag", "symbol", "side")},
            **{name: record[name] for name in ("order_type", "time_in_force", "session")},
            quantity=Decimal(record["quantity"]),
            limit_price=None if limit is None else Decimal(limit),
            at=datetime.fromisoformat(record["at"]),
        )

    def _apply_event(self, record: Record) -> None:
        order = self.orders[record["order_id"]]
        event = Event(
            order_id=order.order_id,
            event_id=record["event_id"],
            status=record["status"],
            at=datetime.fromisoformat(record["at"]),
            quantity=Decimal(record["quantity"]),
            price=Decimal(record["price"]),
            fee=Decimal(record["fee"]),
            message=record["message"],
        )
        order.events.append(event)
        order.status = event.status
        self.open.pop(order.order_id, None)
        if event.status in OPEN:
            self.open[order.order_id] = order
        if event.quantity:
            self._apply_fill(order, event)

    def _apply_fill(self, order: Order, event: Event) -> None:
        order.filled += event.quantity
        order.notional += event.quantity * event.price
        order.fees += event.fee
        account = self.accounts[order.project_id]
        account.cash -= order.sign * event.quantity * event.price + event.fee
        account.positions[order.symbol].add(order.sign * event.quantity, event.price)

    # Decisions.

    def open_account(self, project_id: int, cash: Decimal) -> list[Record]:
        """Give a project its opening cash, once."""
        if project_id in self.accounts:
            return []
        return [self.apply({"kind": "account", "project_id": project_id, "cash": str(cash)})]

    def hold(self, symbol: str, price: Decimal | None) -> list[Record]:
        """Hold an instrument at a price, or release it to the replay."""
        text = None if price is None else str(price)
        return [self.apply({"kind": "hold", "symbol": symbol, "price": text})]

    def place(
        self,
        *,
        project_id: int,
        tag: str,
        symbol: str,
        side: str,
        quantity: Decimal,
        order_type: str,
        limit_price: Decimal | None,
        time_in_force: str,
        session: int,
        at: datetime,
        reject: str | None = None,
    ) -> list[Record]:
        """Take an order and match it at once, or refuse it; the first record is the order."""
        record = {
            "kind": "order",
            "order_id": len(self.orders) + 1,
            "project_id": project_id,
            "tag": tag,
            "symbol": symbol,
            "side": side,
            "quantity": str(quantity),
            "order_type": order_type,
            "limit_price": None if limit_price is None else str(limit_price),
            "time_in_force": time_in_force,
            "session": session,
            "at": at.isoformat(),
        }
        records = [self.apply(record)]
        order = self.orders[len(self.orders)]
        problem = reject or self._problem(order)
        if problem is not None:
            return [*records, self._event(order, "rejected", at, message=problem)]
        records.append(self._event(order, "accepted", at))
        return records + self._match(order, at)

    def cancel(self, order_id: int, at: datetime) -> list[Record]:
        """End an open order; nothing happens to one that is closed."""
        order = self.open.get(order_id)
        return [] if order is None else [self._event(order, "canceled", at)]

    def tick(self, symbol: str, price: Decimal, volume: Decimal, at: datetime) -> list[Record]:
        """Show a new price, or the held one, and match what it reaches, oldest order first."""
        lot = self.instruments[symbol].lot_size
        self.prices[symbol] = self.held.get(symbol, price)
        self._volume[symbol] = volume * PARTICIPATION // lot * lot
        records: list[Record] = []
        for order in [order for order in self.open.values() if order.symbol == symbol]:
            records += self._match(order, at)
        return records

    def close_sessions(self, session: int, at: datetime) -> list[Record]:
        """End the day orders of sessions before this one."""
        ended = [
            order
            for order in self.open.values()
            if order.time_in_force == "day" and order.session < session
        ]
        message = "The order has expired."
        return [self._event(order, "expired", at, message=message) for order in ended]

    def _problem(self, order: Order) -> str | None:
        instrument = self.instruments.get(order.symbol)
        if instrument is None:
            return "unknown instrument"
        if order.quantity <= 0 or order.quantity % instrument.lot_size:
            return f"quantity is not a multiple of {instrument.lot_size}"
        if order.limit_price is not None and (
            order.limit_price <= 0 or order.limit_price % instrument.tick_size
        ):
            return f"price does not conform to the minimum variation of {instrument.tick_size}"
        if order.symbol not in self.prices:
            return "no market data"
        if len(self.orders) > ORDERS_MAX:
            return f"the paper venue keeps {ORDERS_MAX} orders; remove its state folder"
        return None if self._is_covered(order) else "insufficient buying power"

    def _is_covered(self, order: Order) -> bool:
        """Without leverage: what is held and working may never be worth more than the account.

        An order that only shrinks a position always passes.
        """
        account = self.accounts[order.project_id]
        working = [o for o in self.open.values() if o.project_id == order.project_id]
        held = account.positions[order.symbol].quantity
        mine = [o for o in [*working, order] if o.symbol == order.symbol and o.side == order.side]
        if held * order.sign < 0 and sum((o.left for o in mine), ZERO) <= abs(held):
            return True
        worth = sum(
            (p.quantity * self.prices[s] for s, p in account.positions.items() if p.quantity), ZERO
        )
        exposure = sum((self._exposure(account, s, [*working, order]) for s in self.prices), ZERO)
        price = order.limit_price or self.prices[order.symbol]
        fee = commission(order.quantity, order.quantity * price)
        return exposure + fee <= account.cash + worth

    def _exposure(self, account: Account, symbol: str, orders: list[Order]) -> Decimal:
        """The dearer of the two ways in which all working orders of an instrument can go."""
        held, last = account.positions[symbol].quantity, self.prices[symbol]
        worth = {1: max(held, ZERO) * last, -1: max(-held, ZERO) * last}
        for order in orders:
            if order.symbol == symbol:
                worth[order.sign] += order.left * (order.limit_price or last)
        return max(worth.values())

    def _match(self, order: Order, at: datetime) -> list[Record]:
        price, volume = self.prices[order.symbol], self._volume[order.symbol]
        limit = order.limit_price
        reached = limit is None or (price - limit) * order.sign <= 0
        quantity = min(order.left, volume)
        if not (self.is_open and reached and quantity > 0 and order.status in OPEN):
            return []
        self._volume[order.symbol] -= quantity
        total = commission(order.filled + quantity, order.notional + quantity * price)
        status = "filled" if quantity == order.left else "partially_filled"
        fee = total - order.fees
        return [self._event(order, status, at, quantity=quantity, price=price, fee=fee)]

    def _event(
        self,
        order: Order,
        status: str,
        at: datetime,
        *,
        quantity: Decimal = ZERO,
        price: Decimal = ZERO,
        fee: Decimal = ZERO,
        message: str = "",
    ) -> Record:
        record = {
            "kind": "event",
            "order_id": order.order_id,
            "event_id": len(order.events) + 1,
            "status": status,
            "at": at.isoformat(),
            "quantity": str(quantity),
            "price": str(price),
            "fee": str(fee),
            "message": message,
        }
        return self.apply(record)
