"""LEAN's tickets of orders and its books, as one deployment sees them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from paper.launches import Launch
from paper.lean_types import (
    STATUS_OF,
    TYPE_OF,
    OrderField,
    OrderStatus,
    OrderType,
    Symbol,
    UpdateOrderFields,
    decimal_of,
    lean_order,
    order_event,
)
from paper.orders import Order
from paper.venue import Venue


def _response(error_code: str | None = None, message: str | None = None) -> SimpleNamespace:
    is_error = error_code is not None
    return SimpleNamespace(is_error=is_error, error_code=error_code or 0, error_message=message)


class OrderTicket:
    """A live view of one order; of what came before the deployment it knows nothing."""

    def __init__(self, venue: Venue, order: Order, launch: Launch) -> None:
        self._venue, self._order, self._launch = venue, order, launch
        self.order_id, self.tag = order.order_id, tag_of(order, launch)
        self.symbol = Symbol(order.symbol)
        self.update_requests: list[SimpleNamespace] = []

    @property
    def quantity(self) -> float:
        return float(self._order.sign * self._order.quantity)

    @property
    def order_type(self) -> OrderType:
        return TYPE_OF[self._order.order_type]

    @property
    def status(self) -> OrderStatus:
        return STATUS_OF[self._order.status]

    @property
    def order_events(self) -> list[SimpleNamespace]:
        # A broker is another machine: what it tells of an order, no crash of ours undoes.
        with self._venue.lock:
            self._venue.commit()
        past = self._launch.reloaded.get(self.order_id, 0)
        return [order_event(event, self._order.sign) for event in self._order.events[past:]]

    def get(self, field: OrderField) -> float:
        """What an order of another type does not have cannot be asked for."""
        is_limit = field == OrderField.LIMIT_PRICE
        price = self._order.limit_price if is_limit else self._order.stop_price
        if price is None:
            raise ValueError(f"a {self._order.order_type} order has no such price")
        return float(price)

    def cancel(self, tag: str | None = None) -> SimpleNamespace:
        if self._venue.cancel(self.order_id):
            return _response()
        return _response("INVALID_ORDER_STATUS", "the order is closed")

    def update(self, fields: UpdateOrderFields) -> SimpleNamespace:
        """LEAN takes an update of an open order on; what the broker says of it comes later."""
        if self._order.order_id not in self._venue.book.open:
            return _response("INVALID_ORDER_STATUS", "the order is closed")
        values = (fields.quantity, fields.limit_price, fields.stop_price)
        quantity, limit, stop = (None if v is None else decimal_of(v) for v in values)
        problem = self._venue.replace(
            self.order_id,
            quantity=None if quantity is None else abs(quantity),
            limit_price=limit,
            stop_price=stop,
        )
        code = None if problem is None else "BROKERAGE_FAILED_TO_UPDATE_ORDER"
        self.update_requests.append(SimpleNamespace(response=_response(code, problem)))
        return _response()


def tag_of(order: Order, launch: Launch) -> str:
    """What is left of a tag: the brokerage does not keep it from one deployment to the next."""
    return "" if order.order_id in launch.reloaded else order.tag


class InvalidTicket:
    """The ticket of an order that LEAN refused itself: no order id, and no event ever."""

    def __init__(self, error_code: str, error_message: str) -> None:
        response = SimpleNamespace(error_code=error_code, error_message=error_message)
        self.submit_request = SimpleNamespace(response=response)
        self.status, self.order_id, self.tag = OrderStatus.INVALID, 0, ""


class Transactions:
    """LEAN's transaction manager of one algorithm."""

    def __init__(self, venue: Venue, launch: Launch) -> None:
        self._venue, self._launch = venue, launch
        self._tickets: dict[int, OrderTicket] = {}

    def get_order_tickets(
        self,
        filter: Callable[[Any], bool] | None = None,  # noqa: A002 - LEAN's name
    ) -> list[OrderTicket]:
        with self._venue.lock:
            orders = self._venue.orders(self._launch.project_id)
            tickets = [self.ticket(o) for o in orders if self._launch.shows(o.order_id)]
        return [ticket for ticket in tickets if filter is None or filter(ticket)]

    def get_order_ticket(self, order_id: int) -> OrderTicket | None:
        order = self._order(order_id)
        return None if order is None else self.ticket(order)

    def ticket(self, order: Order) -> "OrderTicket":
        """The one ticket of an order of this run."""
        return self._tickets.setdefault(
            order.order_id, OrderTicket(self._venue, order, self._launch)
        )

    def get_order_by_id(self, order_id: int) -> SimpleNamespace | None:
        order = self._order(order_id)
        return None if order is None else lean_order(order, tag_of(order, self._launch))

    def _order(self, order_id: int) -> Order | None:
        order = self._venue.book.orders.get(order_id)
        if order is None or order.project_id != self._launch.project_id:
            return None
        return order if self._launch.shows(order_id) else None


class Portfolio:
    """Holdings and cash of one algorithm."""

    def __init__(self, venue: Venue, project_id: int) -> None:
        self._venue, self._project_id = venue, project_id

    def values(self) -> list[SimpleNamespace]:
        with self._venue.lock:
            positions = dict(self._venue.book.accounts[self._project_id].positions)
        return [
            SimpleNamespace(
                symbol=Symbol(symbol),
                quantity=float(position.quantity),
                average_price=float(position.cost / position.quantity if position.quantity else 0),
            )
            for symbol, position in positions.items()
        ]

    @property
    def cash_book(self) -> dict[str, SimpleNamespace]:
        cash = self._venue.book.accounts[self._project_id].cash
        return {"USD": SimpleNamespace(symbol="USD", amount=float(cash))}
