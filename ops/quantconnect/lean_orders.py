"""Orders in LEAN's words and in ours: the third file of the project.

Nothing here remembers anything; main.py and feed.py do.
"""

from __future__ import annotations

# ruff: noqa: F403, F405, I001
from AlgorithmImports import *

import datetime as dt
import re
import zoneinfo
from typing import Any

from feed import iso, number, utc_now

NUMBER = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,8})?")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
# LEAN takes the end of an order as the local time of the exchange.
NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
PRICES = {
    "market": (),
    "limit": ("limit_price",),
    "stop": ("stop_price",),
    "stop_limit": ("limit_price", "stop_price"),
}
VALUES = ("quantity", "limit_price", "stop_price")


def is_order(command: dict[str, Any]) -> bool:
    """Whether a PlaceOrder says all that it must, in words that we know."""
    if command.get("order_type") not in PRICES or command.get("side") not in ("buy", "sell"):
        return False
    fields = ("quantity", *PRICES[command["order_type"]])
    until, ends = command.get("expires_at"), command.get("time_in_force")
    ends_well = ends in ("day", "gtc") or (
        ends == "gtd" and MOMENT.fullmatch(str(until)) is not None and str(until) > iso(utc_now())
    )
    return ends_well and all(_is_number(command.get(name)) for name in fields)


def is_change(command: dict[str, Any]) -> bool:
    """Whether a ReplaceOrder names a value, and nothing but values."""
    given = [command.get(name) for name in VALUES if command.get(name) is not None]
    return bool(given) and all(_is_number(value) for value in given)


def _is_number(value: Any) -> bool:
    return NUMBER.fullmatch(str(value)) is not None and float(value) > 0


def values_of(command: dict[str, Any]) -> dict[str, str]:
    """What the order of a PlaceOrder asks for."""
    return {name: command[name] for name in ("quantity", *PRICES[command["order_type"]])}


def values_held(ticket: OrderTicket) -> dict[str, str]:
    """What LEAN has of an order now."""
    held = {"quantity": number(abs(ticket.quantity))}
    if ticket.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        held["limit_price"] = number(ticket.get(OrderField.LIMIT_PRICE))
    if ticket.order_type in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT):
        held["stop_price"] = number(ticket.get(OrderField.STOP_PRICE))
    return held


def values_told(event: OrderEvent) -> dict[str, str]:
    """What an event tells of its order's values."""
    told = {"quantity": abs(event.quantity) or None}
    told |= {"limit_price": event.limit_price, "stop_price": event.stop_price}
    return {name: number(value) for name, value in told.items() if value is not None}


def send(algorithm: QCAlgorithm, symbol: Symbol, key: str, command: dict[str, Any]) -> OrderTicket:
    """Place the order of a command; its ticket."""
    properties = OrderProperties()
    properties.time_in_force = _time_in_force(command)
    quantity = float(command["quantity"]) * (1 if command["side"] == "buy" else -1)
    rest = (True, key, properties)
    limit, stop = (float(command.get(name) or 0) for name in ("limit_price", "stop_price"))
    if command["order_type"] == "market":
        return algorithm.market_order(symbol, quantity, *rest)
    if command["order_type"] == "limit":
        return algorithm.limit_order(symbol, quantity, limit, *rest)
    if command["order_type"] == "stop":
        return algorithm.stop_market_order(symbol, quantity, stop, *rest)
    return algorithm.stop_limit_order(symbol, quantity, stop, limit, *rest)


def _time_in_force(command: dict[str, Any]) -> TimeInForce:
    if command["time_in_force"] == "day":
        return TimeInForce.DAY
    if command["time_in_force"] == "gtc":
        return TimeInForce.GOOD_TIL_CANCELED
    moment = dt.datetime.strptime(command["expires_at"], "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007
    utc = moment.replace(tzinfo=dt.timezone.utc)  # noqa: UP017
    return GoodTilDateTimeInForce(utc.astimezone(NEW_YORK).replace(tzinfo=None))


def change(ticket: OrderTicket, command: dict[str, Any]) -> OrderResponse:
    """Ask for an order's new values; LEAN's response."""
    fields = UpdateOrderFields()
    if command.get("quantity") is not None:
        fields.quantity = float(command["quantity"]) * (1 if ticket.quantity > 0 else -1)
    if command.get("limit_price") is not None:
        fields.limit_price = float(command["limit_price"])
    if command.get("stop_price") is not None:
        fields.stop_price = float(command["stop_price"])
    return ticket.update(fields)


def status_of(lean_status: OrderStatus, message: str) -> str | None:
    """Our word for a state that is reported; None for what nobody needs to know."""
    names = (
        (OrderStatus.SUBMITTED, "accepted"),
        (OrderStatus.PARTIALLY_FILLED, "partially_filled"),
        (OrderStatus.FILLED, "filled"),
        (OrderStatus.CANCELED, "canceled"),
        (OrderStatus.INVALID, "rejected"),
        (OrderStatus.UPDATE_SUBMITTED, "replaced"),
    )
    ours = next((name for status, name in names if lean_status == status), None)
    # LEAN has no status for the end of a day order; only its message tells.
    return "expired" if ours == "canceled" and "expired" in str(message) else ours


def fill_of(event: OrderEvent, exec_id: str) -> dict[str, str]:
    """An execution in our words."""
    fee, currency = event.order_fee.value.amount, event.order_fee.value.currency
    fill = {"exec_id": exec_id, "quantity": number(abs(event.fill_quantity))}
    fill |= {"price": number(event.fill_price), "executed_at": iso(event.utc_time)}
    return fill | {"fee": number(fee), "fee_currency": str(currency if fee else "USD")}


def external_of(
    order: Order, event: OrderEvent, broker_order_id: str | None
) -> dict[str, Any] | None:
    """An order that was placed elsewhere, if it is of a type that we have."""
    names = (
        (OrderType.MARKET, "market"),
        (OrderType.LIMIT, "limit"),
        (OrderType.STOP_MARKET, "stop"),
        (OrderType.STOP_LIMIT, "stop_limit"),
    )
    order_type = next((name for lean_type, name in names if order.type == lean_type), None)
    if order_type is None:
        return None
    told = {"broker_order_id": broker_order_id, "symbol": str(order.symbol.value)}
    told |= {"side": "buy" if order.quantity > 0 else "sell", "order_type": order_type}
    return {**told, "quantity": number(abs(order.quantity)), **values_told(event)}


def held_by(portfolio: SecurityPortfolioManager) -> dict[str, list[dict[str, str]]]:
    """What the account holds, for the heartbeat."""
    held = [holding for holding in portfolio.values() if holding.quantity]
    positions = [
        {"symbol": str(h.symbol.value), "quantity": number(h.quantity)}
        | {"average_price": number(h.average_price)}
        for h in held
    ]
    book = portfolio.cash_book.values()
    cash = [{"currency": str(c.symbol), "amount": number(c.amount)} for c in book]
    return {"positions": positions, "cash": cash}
