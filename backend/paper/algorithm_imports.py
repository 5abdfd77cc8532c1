"""The part of LEAN's Python API that the bridge uses, under LEAN's names and with its manners.

It is put in place as the module AlgorithmImports. Numbers leave as floats and times as naive UTC,
as pythonnet hands them over; a refused order has a ticket and no event; everything unknown is an
AttributeError, so that the bridge cannot come to lean on what LEAN does not have.
"""

import importlib.util
import json
import logging
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from paper.launches import Launch
from paper.lean_tickets import InvalidTicket, OrderTicket, Portfolio, Transactions
from paper.lean_types import (
    AccountType,
    BrokerageName,
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
)
from paper.object_store import ObjectStore
from paper.venue import Venue

__all__ = [
    "AccountType",
    "BrokerageName",
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
LOGS_MAX = 10_000
# Json.NET turns strings of this shape into dates when it fills a command's attributes.
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


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
        launch: Launch | None = None,
        live_mode: bool = True,
    ) -> None:
        self.project_id, self.algorithm_id, self.account_currency = project_id, algorithm_id, "USD"
        self.live_mode, self.has_quit = live_mode, False
        self.object_store, self.notify = object_store, notify
        self.logs: deque[str] = deque(maxlen=LOGS_MAX)
        self.runtime_statistics: dict[str, str] = {}
        launch = launch or Launch(project_id, "")
        self.transactions = Transactions(venue, launch)
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

    def set_brokerage_model(self, brokerage: BrokerageName, account_type: AccountType) -> None:
        """Take it on; the venue has fees, buying power and order types of its own."""

    def set_start_date(self, year: int, month: int, day: int) -> None:
        """Mean nothing: the replay shows what it shows."""

    def set_end_date(self, year: int, month: int, day: int) -> None:
        """Mean nothing, as well."""

    def set_runtime_statistic(self, name: str, value: str) -> None:
        self.runtime_statistics[name] = str(value)

    def quit(self, message: str = "") -> None:
        """End this deployment after the time slice."""
        self.debug(message or "the algorithm quits")
        self.has_quit = True

    def debug(self, message: str) -> None:
        self._say(logging.INFO, message)

    def error(self, message: str) -> None:
        self._say(logging.ERROR, message)

    def _say(self, level: int, message: str) -> None:
        log.log(level, "%s %s", self.project_id, message)
        self.logs.append(f"{datetime.now():%Y-%m-%d %H:%M:%S} : {message}")  # noqa: DTZ005

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
    sys.modules["AlgorithmImports"] = sys.modules[__name__]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    with _beside(path):
        spec.loader.exec_module(module)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, QCAlgorithm) and value is not QCAlgorithm
    ]
    if len(found) != 1:
        raise ValueError(f"{path} must define exactly one QCAlgorithm")
    return found[0]


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Let a project's files import each other, and no other project's of the same name."""
    names = {file.stem for file in path.parent.glob("*.py")}
    kept = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    sys.path.insert(0, str(path.parent))
    try:
        yield
    finally:
        sys.path.remove(str(path.parent))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
