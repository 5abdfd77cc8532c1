"""QuantConnect's JSON: what is read from a request, and LEAN's orders, events and holdings."""

import csv
import io
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from paper.cloud import Refused
from paper.orders import Account, Event, Order

Json = dict[str, Any]
EQUITY = 1
INSIGHTS_MAX = 100
TYPES = {"market": 0, "limit": 1, "stop": 2, "stop_limit": 3}
STATUSES = {
    "new": 0,
    "accepted": 1,
    "partially_filled": 2,
    "filled": 3,
    "canceled": 5,
    "expired": 5,
    "rejected": 7,
}
WORDS = {
    "accepted": "submitted",
    "partially_filled": "partiallyFilled",
    "rejected": "invalid",
    "expired": "canceled",
    "replaced": "updateSubmitted",
}
TIMES_IN_FORCE = {"day": "DayTimeInForce", "gtd": "GoodTilDateTimeInForce"}


def integer(fields: Json, name: str, default: int) -> int:
    """Read a number, also one that is written as text; raises Refused."""
    try:
        return int(fields.get(name, default))
    except (TypeError, ValueError) as error:
        raise Refused(f"{name} must be a number") from error


def text(fields: Json, name: str, default: str | None = None) -> str:
    """Read a text; raises Refused when it is missing and has no default."""
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise Refused(f"{name} is missing" if value is None else f"{name} must be a text")
    return value


def page(fields: Json, rows: list[Any], *, start: str, end: str, size: int) -> list[Any]:
    """Cut the page that was asked for; raises Refused when it is too large."""
    first, last = integer(fields, start, 0), integer(fields, end, size)
    if not 0 <= last - first <= size:
        raise Refused(f"{end} - {start} must be between 0 and {size}")
    return rows[max(first, 0) : max(last, 0)]


def no_insights(fields: Json) -> Json:
    """Insights of an algorithm that emits none, as the bridge; raises Refused for a large page."""
    return {"insights": page(fields, [], start="start", end="end", size=INSIGHTS_MAX), "length": 0}


def symbol_json(symbol: str) -> Json:
    """LEAN's symbol."""
    return {"value": symbol, "id": symbol, "permtick": symbol}


def order_json(order: Order, algorithm_id: str, *, tag: str, past: int = 0) -> Json:
    """LEAN's serialized order; of a reloaded one the first `past` events are not known."""
    price = order.notional / order.filled if order.filled else Decimal(0)
    events = order.events[past:]
    fills = [event.at.isoformat() for event in events if event.quantity]
    in_force = TIMES_IN_FORCE.get(order.time_in_force)
    kind = {} if in_force is None else {"$type": f"QuantConnect.Orders.TimeInForces.{in_force}"}
    return {
        "id": order.order_id,
        "contingentId": 0,
        "brokerId": [str(order.order_id)],
        "symbol": symbol_json(order.symbol),
        "price": float(price),
        "priceCurrency": "USD",
        "time": order.at.isoformat(),
        "createdTime": order.at.isoformat(),
        "lastFillTime": fills[-1] if fills else None,
        "lastUpdateTime": _last(events, "replaced"),
        "canceledTime": _last(events, "canceled"),
        "quantity": float(order.sign * order.quantity),
        "type": TYPES[order.order_type],
        "status": STATUSES[order.status],
        "tag": tag,
        "properties": {"timeInForce": kind},
        "securityType": EQUITY,
        "direction": 0 if order.side == "buy" else 1,
        "value": float(order.sign * order.quantity * price),
        "limitPrice": None if order.limit_price is None else float(order.limit_price),
        "stopPrice": None if order.stop_price is None else float(order.stop_price),
        "events": [event_json(order, event, algorithm_id) for event in events],
    }


def _last(events: list[Event], status: str) -> str | None:
    found = [event.at.isoformat() for event in events if event.status == status]
    return found[-1] if found else None


def event_json(order: Order, event: Event, algorithm_id: str) -> Json:
    """LEAN's serialized order event."""
    return {
        "id": f"{algorithm_id}-{order.order_id}-{event.event_id}",
        "algorithmId": algorithm_id,
        "orderId": order.order_id,
        "orderEventId": event.event_id,
        "symbol": order.symbol,
        "symbolValue": order.symbol,
        "symbolPermtick": order.symbol,
        "time": event.at.timestamp(),
        "status": WORDS.get(event.status, event.status),
        "orderFeeAmount": float(event.fee),
        "orderFeeCurrency": "USD",
        "fillPrice": float(event.price),
        "fillPriceCurrency": "USD",
        "fillQuantity": float(order.sign * event.quantity),
        "direction": order.side,
        "message": event.message,
        "isAssignment": False,
        "quantity": float(order.sign * event.order_quantity),
        "limitPrice": None if event.limit_price is None else float(event.limit_price),
        "stopPrice": None if event.stop_price is None else float(event.stop_price),
    }


def orders_csv(orders: Iterable[Order]) -> str:
    """All orders of a project, one per line, as the results page of QuantConnect hands them out."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(("Time", "Symbol", "Price", "Quantity", "Type", "Status", "Value", "Tag"))
    for order in orders:
        told = order_json(order, "", tag=order.tag)
        kind = order.order_type.replace("_", " ").title()
        status = WORDS.get(order.status, order.status)
        rows.writerow(
            (
                order.at.isoformat(), order.symbol, told["price"], told["quantity"],
                kind, status, told["value"], order.tag,
            )
        )  # fmt: skip
    return written.getvalue()


def portfolio_json(account: Account, prices: dict[str, Decimal]) -> Json:
    """LEAN's holdings and cash."""
    holdings = {
        symbol: {
            "symbol": symbol_json(symbol),
            "type": EQUITY,
            "currencySymbol": "$",
            "averagePrice": float(position.cost / position.quantity),
            "quantity": float(position.quantity),
            "marketPrice": float(prices[symbol]),
            "conversionRate": 1.0,
            "marketValue": float(position.quantity * prices[symbol]),
            "unrealizedPnl": float(position.quantity * prices[symbol] - position.cost),
        }
        for symbol, position in account.positions.items()
        if position.quantity
    }
    cash = {"symbol": "USD", "amount": float(account.cash), "conversionRate": 1.0}
    cash |= {"currencySymbol": "$", "valueInAccountCurrency": float(account.cash)}
    return {"holdings": holdings, "cash": {"USD": cash}}
