"""The part of LEAN's Python API that the bridge uses, under LEAN's names and with its manners.

It is put in place as the module AlgorithmImports. Numbers leave as floats and times as naive UTC,
as pythonnet hands them over; a refused order has a ticket and no event; everything unknown is an
AttributeError, so that the bridge cannot come to lean on what LEAN does not have.
"""

import json
import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from paper.lean_types import (
    STATUS_OF,
    TYPE_OF,
    GoodTilDateTimeInForce,
    OrderField,
    OrderProperties,
    OrderStatus,
    OrderType,
    Resolution,
    Symbol,
    TimeInForce,
    UpdateOrderFields,
    decimal_of,
    lean_order,
    order_event,
)
from paper.object_store import ObjectStore
from paper.orders import Order
from paper.venue import Venue

__all__ = [
    "GoodTilDateTimeInForce",
    "OrderField",
    "OrderProperties",
    "OrderStatus",
    "OrderType",
    "QCAlgorithm",
    "Resolution",
    "TimeInForce",
    "UpdateOrderFields",
]

log = logging.getLogger("paper.algorithm")
# Json.NET turns strings of this shape into dates when it fills a command's attributes.
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def _response(error_code: str | None = None, message: str | None = None) -> SimpleNamespace:
    is_error = error_code is not None
    return SimpleNamespace(is_error=is_error, error_code=error_code or 0, error_message=message)


class OrderTicket:
    """A live view of one order."""

    def __init__(self, venue: Venue, order: Order) -> None:
        self._venue, self._order = venue, order
        self.order_id, self.tag = order.order_id, order.tag
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
        return [order_event(event, self._order.sign) for event in self._order.events]

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


class InvalidTicket:
    """The ticket of an order that LEAN refused itself: no order id, and no event ever."""

    def __init__(self, error_code: str, error_message: str) -> None:
        response = SimpleNamespace(error_code=error_code, error_message=error_message)
        self.submit_request = SimpleNamespace(response=response)
        self.status, self.order_id, self.tag = OrderStatus.INVALID, 0, ""


class Transactions:
    """LEAN's transaction manager of one algorithm."""

    def __init__(self, venue: Venue, project_id: int) -> None:
        self._venue, self._project_id = venue, project_id
        self._tickets: dict[int, OrderTicket] = {}

    def get_order_tickets(
        self,
        filter: Callable[[Any], bool] | None = None,  # noqa: A002 - LEAN's name
    ) -> list[OrderTicket]:
        with self._venue.lock:
            tickets = [self.ticket(o) for o in self._venue.orders(self._project_id)]
        return [ticket for ticket in tickets if filter is None or filter(ticket)]

    def get_order_ticket(self, order_id: int) -> OrderTicket | None:
        order = self._order(order_id)
        return None if order is None else self.ticket(order)

    def ticket(self, order: Order) -> "OrderTicket":
        """The one ticket of an order of this run."""
        return self._tickets.setdefault(order.order_id, OrderTicket(self._venue, order))

    def get_order_by_id(self, order_id: int) -> SimpleNamespace | None:
        order = self._order(order_id)
        return None if order is None else lean_order(order)

    def _order(self, order_id: int) -> Order | None:
        order = self._venue.book.orders.get(order_id)
        return order if order is not None and order.project_id == self._project_id else None


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


class Schedule:
    """Calls back after each interval; `run_due` is the engine's side."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, Callable[[], Any]]] = []
        self._due: list[float] = []

    def on(self, date_rule: object, time_rule: timedelta, callback: Callable[[], Any]) -> None:
        self._entries.append((time_rule.total_seconds(), callback))
        self._due.append(0.0)

    def run_due(self, clock: float) -> None:
        for position, (interval, callback) in enumerate(self._entries):
            if clock >= self._due[position]:
                self._due[position] = clock + interval
                callback()


class QCAlgorithm:
    """What LEAN offers to an algorithm; the engine deploys it by `_deploy`."""

    def _deploy(
        self,
        venue: Venue,
        *,
        project_id: int,
        algorithm_id: str,
        parameters: dict[str, str],
        object_store: ObjectStore,
        notify: Any,
    ) -> None:
        self.project_id, self.algorithm_id, self.account_currency = project_id, algorithm_id, "USD"
        self.live_mode = True
        self.object_store, self.notify = object_store, notify
        self.transactions = Transactions(venue, project_id)
        self.portfolio = Portfolio(venue, project_id)
        self.schedule = Schedule()
        self.date_rules = SimpleNamespace(every_day=lambda: None)
        self.time_rules = SimpleNamespace(every=lambda interval: interval)
        self._venue, self._parameters = venue, parameters
        self._command_types: dict[str, type[Any]] = {}
        self._equities: dict[str, Symbol] = {}

    def initialize(self) -> None: ...

    def on_data(self, data: Any) -> None: ...

    def on_order_event(self, order_event: Any) -> None: ...

    def get_parameter(self, name: str, default_value: str | None = None) -> str | None:
        return self._parameters.get(name, default_value)

    def add_equity(self, ticker: str, resolution: Resolution) -> SimpleNamespace:
        self._equities[ticker] = Symbol(ticker)
        return SimpleNamespace(symbol=self._equities[ticker])

    def add_command(self, command_type: type[Any]) -> None:
        self._command_types[command_type.__name__] = command_type

    def debug(self, message: str) -> None:
        log.info("%s %s", self.project_id, message)

    def error(self, message: str) -> None:
        log.error("%s %s", self.project_id, message)

    def market_order(
        self,
        symbol: Symbol,
        quantity: float,
        asynchronous: bool = False,
        tag: str = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket | InvalidTicket:
        return self._submit(symbol, quantity, tag, order_properties)

    def limit_order(  # noqa: PLR0917 - LEAN's signature
        self,
        symbol: Symbol,
        quantity: float,
        limit_price: float,
        asynchronous: bool = False,
        tag: str = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket | InvalidTicket:
        return self._submit(symbol, quantity, tag, order_properties, limit_price=limit_price)

    def stop_market_order(  # noqa: PLR0917 - LEAN's signature
        self,
        symbol: Symbol,
        quantity: float,
        stop_price: float,
        asynchronous: bool = False,
        tag: str = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket | InvalidTicket:
        return self._submit(symbol, quantity, tag, order_properties, stop_price=stop_price)

    def stop_limit_order(  # noqa: PLR0917 - LEAN's signature
        self,
        symbol: Symbol,
        quantity: float,
        stop_price: float,
        limit_price: float,
        asynchronous: bool = False,
        tag: str = "",
        order_properties: OrderProperties | None = None,
    ) -> OrderTicket | InvalidTicket:
        prices = {"limit_price": limit_price, "stop_price": stop_price}
        return self._submit(symbol, quantity, tag, order_properties, **prices)

    def _submit(
        self,
        symbol: Symbol,
        quantity: float,
        tag: str,
        properties: OrderProperties | None,
        *,
        limit_price: float | None = None,
        stop_price: float | None = None,
    ) -> OrderTicket | InvalidTicket:
        if not quantity:
            return InvalidTicket("ORDER_QUANTITY_ZERO", "the quantity is zero")
        if symbol.value not in self._venue.book.prices:
            return InvalidTicket("SECURITY_PRICE_ZERO", f"{symbol.value} has no price yet")
        time_in_force = (properties or OrderProperties()).time_in_force
        order = self._venue.place(
            project_id=self.project_id,
            tag=tag,
            symbol=symbol.value,
            side="buy" if quantity > 0 else "sell",
            quantity=abs(decimal_of(quantity)),
            limit_price=None if limit_price is None else decimal_of(limit_price),
            stop_price=None if stop_price is None else decimal_of(stop_price),
            time_in_force=time_in_force.name,
            expires_at=time_in_force.expires_at,
        )
        return self.transactions.ticket(order)

    # The engine's side.

    def _run_command(self, payload: str) -> None:
        """Fill an instance of the registered class as CommandPythonWrapper does, and run it."""
        fields: dict[str, Any] = json.loads(payload)
        command_type = self._command_types.get(str(fields.get("$type")))
        if command_type is None:
            self.error(f"unregistered command type {fields.get('$type')!r} is ignored")
            return
        command = command_type()
        if hasattr(command, "PayloadData"):
            command.PayloadData = payload
        for name, value in fields.items():
            is_date = isinstance(value, str) and DATE.fullmatch(value)
            setattr(command, name, datetime.fromisoformat(value) if is_date else value)
        command.run(self)

    def _show(self, prices: dict[str, Decimal]) -> None:
        bars = {
            symbol: SimpleNamespace(close=float(prices[ticker]))
            for ticker, symbol in self._equities.items()
            if ticker in prices
        }
        self.on_data(SimpleNamespace(bars=bars))


def load_algorithm(path: Path, name: str) -> type[QCAlgorithm]:
    """Load the file that would be uploaded, once for each deployment, and find its algorithm."""
    import importlib.util  # noqa: PLC0415
    import sys  # noqa: PLC0415

    sys.modules["AlgorithmImports"] = sys.modules[__name__]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # the project's other files
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"BRIDGE_FILE {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, QCAlgorithm) and value is not QCAlgorithm
    ]
    if len(found) != 1:
        raise ValueError(f"BRIDGE_FILE {path} must define exactly one QCAlgorithm")
    return found[0]
