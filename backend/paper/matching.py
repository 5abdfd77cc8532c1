"""The matching core: what the market, orders and cancels make of the book; no clock, no disk.

Every change is a record first. `apply` is the only way state changes, live and when a journal is
read back, so that a restart arrives at the same book.
"""

import dataclasses
from collections import defaultdict
from datetime import datetime
from decimal import Decimal

from paper.journal import Record
from paper.orders import (
    ZERO,
    Account,
    Event,
    Order,
    Refused,
    commission,
    price_of,
    text_of,
    worth_of,
)
from paper.settings import Instrument

PARTICIPATION = Decimal("0.10")  # of a tick's volume goes to our orders
OPEN = ("accepted", "partially_filled")
ORDERS_MAX = 200_000
EXPIRED = "The order has expired."


class Book:
    """Accounts, orders and last prices; methods return the records they led to."""

    def __init__(self, instruments: tuple[Instrument, ...]) -> None:
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.accounts: dict[int, Account] = {}
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.held: dict[str, Decimal] = {}
        # By project, fills that were corrected or busted, as they are now and in that order.
        self.restated: dict[int, list[Event]] = defaultdict(list)
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
        elif record["kind"] == "trigger":
            self.orders[record["order_id"]].triggered = True
        elif record["kind"] == "replace":
            self._apply_replace(record)
        elif record["kind"] == "restate":
            self._apply_restate(record)
        elif record["kind"] == "drift":
            account = self.accounts[record["project_id"]]
            quantity = Decimal(record["quantity"])
            account.positions[record["symbol"]].add(quantity, Decimal(record["price"]))
        elif record["kind"] == "hold":
            self.held.pop(record["symbol"], None)
            if record["price"] is not None:
                self.held[record["symbol"]] = Decimal(record["price"])
        return record

    def _apply_order(self, record: Record) -> None:
        expires_at = record.get("expires_at")
        self.orders[record["order_id"]] = Order(
            **{name: record[name] for name in ("order_id", "project_id", "tag", "symbol", "side")},
            **{name: record[name] for name in ("time_in_force", "session")},
            quantity=Decimal(record["quantity"]),
            limit_price=price_of(record["limit_price"]),
            stop_price=price_of(record.get("stop_price")),
            expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
            at=datetime.fromisoformat(record["at"]),
        )

    def _apply_replace(self, record: Record) -> None:
        order = self.orders[record["order_id"]]
        order.quantity = Decimal(record["quantity"])
        order.limit_price = price_of(record["limit_price"])
        order.stop_price = price_of(record["stop_price"])

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
            order_quantity=order.quantity,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
        )
        order.events.append(event)
        if event.status == "replaced":
            return
        order.status = event.status
        self.open.pop(order.order_id, None)
        if event.status in OPEN:
            self.open[order.order_id] = order
        if event.quantity:
            self._apply_fill(order, event)

    def _apply_restate(self, record: Record) -> None:
        """Give the fill back as it was and take it anew; a bust is taken with nothing in it."""
        order, place = self.orders[record["order_id"]], record["event_id"] - 1
        before = order.events[place]
        quantity, price = Decimal(record["quantity"]), Decimal(record["price"])
        after = dataclasses.replace(
            before,
            quantity=quantity,
            price=price,
            fee=before.fee if quantity else ZERO,
            revision=before.revision + 1,
        )
        self._apply_fill(order, before, times=-1)
        self._apply_fill(order, after)
        order.events[place] = after
        self.restated[order.project_id].append(after)

    def _apply_fill(self, order: Order, event: Event, times: int = 1) -> None:
        quantity = times * event.quantity
        order.filled += quantity
        order.notional += quantity * event.price
        order.fees += times * event.fee
        account = self.accounts[order.project_id]
        account.cash -= order.sign * quantity * event.price + times * event.fee
        if quantity:
            account.positions[order.symbol].add(order.sign * quantity, event.price)

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
        limit_price: Decimal | None,
        time_in_force: str,
        session: int,
        at: datetime,
        stop_price: Decimal | None = None,
        expires_at: datetime | None = None,
        reject: str | None = None,
        halved: bool = False,
    ) -> list[Record]:
        """Take an order and match it at once, or refuse it; the first record is the order.

        Halved: of what could trade at once half does, and the venue cancels the rest.
        """
        record = {
            "kind": "order",
            "order_id": len(self.orders) + 1,
            "project_id": project_id,
            "tag": tag,
            "symbol": symbol,
            "side": side,
            "quantity": str(quantity),
            "limit_price": text_of(limit_price),
            "stop_price": text_of(stop_price),
            "time_in_force": time_in_force,
            "expires_at": None if expires_at is None else expires_at.isoformat(),
            "session": session,
            "at": at.isoformat(),
        }
        records = [self.apply(record)]
        order = self.orders[len(self.orders)]
        problem = reject or self._problem(order)
        if problem is not None:
            return [*records, self.event(order, "rejected", at, message=problem)]
        records.append(self.event(order, "accepted", at))
        if not halved:
            return records + self._match(order, at)
        lot, volume = self.instruments[symbol].lot_size, self._volume[symbol]
        self._volume[symbol] = min(volume, quantity / 2 // lot * lot)
        records += self._match(order, at)
        self._volume[symbol] = volume - order.filled
        return records + self.cancel(order.order_id, at)

    def cancel(self, order_id: int, at: datetime) -> list[Record]:
        """End an open order; nothing happens to one that is closed."""
        order = self.open.get(order_id)
        return [] if order is None else [self.event(order, "canceled", at)]

    def replace(
        self,
        order_id: int,
        quantity: Decimal | None,
        limit_price: Decimal | None,
        stop_price: Decimal | None,
        at: datetime,
    ) -> list[Record]:
        """Change an open order where a value is given, and match it; raises Refused."""
        order = self.open.get(order_id)
        if order is None:
            raise Refused("the order is closed")
        changed = dataclasses.replace(
            order,
            quantity=order.quantity if quantity is None else quantity,
            limit_price=order.limit_price if limit_price is None else limit_price,
            stop_price=order.stop_price if stop_price is None else stop_price,
        )
        problem = self._problem_of_replace(order, changed)
        if problem is not None:
            raise Refused(problem)
        record = {
            "kind": "replace",
            "order_id": order_id,
            "quantity": str(changed.quantity),
            "limit_price": text_of(changed.limit_price),
            "stop_price": text_of(changed.stop_price),
        }
        return [self.apply(record), self.event(order, "replaced", at), *self._match(order, at)]

    def _problem_of_replace(self, order: Order, changed: Order) -> str | None:
        if changed.order_type != order.order_type:
            return f"a {order.order_type} order does not have this price"
        if order.triggered and changed.stop_price != order.stop_price:
            return "the stop was triggered"
        if changed.quantity <= order.filled:
            return f"{order.filled} are filled"
        return self._problem(changed)

    def tick(self, symbol: str, price: Decimal, volume: Decimal, at: datetime) -> list[Record]:
        """Show a new price, or the held one, and match what it reaches, oldest order first."""
        lot = self.instruments[symbol].lot_size
        self.prices[symbol] = self.held.get(symbol, price)
        self._volume[symbol] = volume * PARTICIPATION // lot * lot
        records: list[Record] = []
        for order in [order for order in self.open.values() if order.symbol == symbol]:
            records += self._match(order, at)
        return records

    def expire(self, session: int, at: datetime) -> list[Record]:
        """End the day orders of sessions before this one, and what is good until now."""
        ended = [
            order
            for order in self.open.values()
            if (order.time_in_force == "day" and order.session < session)
            or (order.expires_at is not None and order.expires_at <= at)
        ]
        return [self.event(order, "expired", at, message=EXPIRED) for order in ended]

    def _problem(self, order: Order) -> str | None:
        instrument = self.instruments.get(order.symbol)
        if instrument is None:
            return "unknown instrument"
        if order.quantity <= 0 or order.quantity % instrument.lot_size:
            return f"quantity is not a multiple of {instrument.lot_size}"
        prices = [price for price in (order.limit_price, order.stop_price) if price is not None]
        if any(price <= 0 or price % instrument.tick_size for price in prices):
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
        # An order that is changed counts once, with its new values.
        working = [
            other
            for other in self.open.values()
            if other.project_id == order.project_id and other.order_id != order.order_id
        ]
        held = account.positions[order.symbol].quantity
        mine = [o for o in [*working, order] if o.symbol == order.symbol and o.side == order.side]
        if held * order.sign < 0 and sum((o.left for o in mine), ZERO) <= abs(held):
            return True
        worth = sum(
            (p.quantity * self.prices[s] for s, p in account.positions.items() if p.quantity), ZERO
        )
        exposure = sum((self._exposure(account, s, [*working, order]) for s in self.prices), ZERO)
        price = worth_of(order, self.prices[order.symbol])
        fee = commission(order.quantity, order.quantity * price)
        return exposure + fee <= account.cash + worth

    def _exposure(self, account: Account, symbol: str, orders: list[Order]) -> Decimal:
        """The dearer of the two ways in which all working orders of an instrument can go."""
        held, last = account.positions[symbol].quantity, self.prices[symbol]
        worth = {1: max(held, ZERO) * last, -1: max(-held, ZERO) * last}
        for order in orders:
            if order.symbol == symbol:
                worth[order.sign] += order.left * worth_of(order, last)
        return max(worth.values())

    def _match(self, order: Order, at: datetime) -> list[Record]:
        price, volume = self.prices[order.symbol], self._volume[order.symbol]
        if order.stop_price is not None and not order.triggered:
            return self._trigger(order, order.stop_price, price)
        limit = order.limit_price
        reached = limit is None or (price - limit) * order.sign <= 0
        quantity = min(order.left, volume)
        if not (self.is_open and reached and quantity > 0 and order.status in OPEN):
            return []
        self._volume[order.symbol] -= quantity
        total = commission(order.filled + quantity, order.notional + quantity * price)
        status = "filled" if quantity == order.left else "partially_filled"
        fee = total - order.fees
        return [self.event(order, status, at, quantity=quantity, price=price, fee=fee)]

    def _trigger(self, order: Order, stop: Decimal, last: Decimal) -> list[Record]:
        """The price that triggers a stop is gone; the order is in the market from the next on."""
        if not self.is_open or order.status not in OPEN or (last - stop) * order.sign < 0:
            return []
        return [self.apply({"kind": "trigger", "order_id": order.order_id})]

    def event(
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
        """Let something happen to an order."""
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
