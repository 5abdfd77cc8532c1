"""What a venue should not do to a book, and real ones do; only faults ask for it."""

from datetime import datetime
from decimal import Decimal

from paper.journal import Record
from paper.matching import Book
from paper.orders import Event, commission

BUSTED = "The venue took a fill back."


def fill_late(book: Book, order_id: int, at: datetime) -> list[Record]:
    """Fill what was left of an order that has just ended, at the last price."""
    order = book.orders[order_id]
    price = book.prices[order.symbol]
    quantity, notional = order.left, order.notional + order.left * price
    fee = commission(order.quantity, notional) - order.fees
    return [book.event(order, "filled", at, quantity=quantity, price=price, fee=fee)]


def restate(
    book: Book, event: Event, quantity: Decimal, price: Decimal, at: datetime
) -> list[Record]:
    """Correct a fill, or bust it with a quantity of zero; what was filled so far is over then."""
    order = book.orders[event.order_id]
    record: Record = {"kind": "restate", "order_id": order.order_id, "event_id": event.event_id}
    records = [book.apply({**record, "quantity": str(quantity), "price": str(price)})]
    if order.status == "filled" and order.left:
        records.append(book.event(order, "canceled", at, message=BUSTED))
    return records


def drift(book: Book, project_id: int, symbol: str, quantity: Decimal) -> list[Record]:
    """Change a position by no order, as an assignment or a clerk does."""
    record = {"kind": "drift", "project_id": project_id, "symbol": symbol}
    record |= {"quantity": str(quantity), "price": str(book.prices[symbol])}
    return [book.apply(record)]


def double(book: Book, order_id: int, at: datetime) -> list[Record]:
    """Work an order a second time under its name, as after a change that was taken twice."""
    order = book.orders[order_id]
    return book.place(
        project_id=order.project_id,
        tag=order.tag,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        time_in_force=order.time_in_force,
        expires_at=order.expires_at,
        session=order.session,
        at=at,
    )
