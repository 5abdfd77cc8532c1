"""What an answer means in a sentence: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from components import formats
from services.models import Order, OrderState, Ticket

FIELD_NAMES = {
    "account_id": "Account",
    "symbol": "Symbol",
    "side": "Side",
    "order_type": "Type",
    "quantity": "Quantity",
    "limit_price": "Limit price",
    "stop_price": "Stop price",
    "time_in_force": "Time in force",
    "expires_at": "Good until",
}
REFUSALS = {
    "session_revoked": "Your session has ended. Sign in again; nothing was sent.",
    "role_not_allowed": "Your role may not place or cancel orders.",
    "not_allowed_to_trade": "You may read this account but not trade it.",
    "account_not_found": "This account is not open to you any more.",
    "order_not_found": "This order is not open to you.",
    "order_not_replaceable": "The order cannot be changed in its present state.",
    "quantity_below_filled": "More than that is filled already. The quantity is the new total.",
    "replace_empty": "Nothing would change. Name another quantity or price.",
    "break_not_found": "There is no such break any more.",
    "break_not_open": "This break is over already, so there is nothing to resolve.",
    "channel_not_found": "There is no such channel any more.",
    "channels_full": "You have ten channels. Change or remove one of them.",
    "order_not_cancelable": "The order is already finished, so there is nothing to cancel.",
    "idempotency_key_reused": (
        "This ticket was already used for another order. Nothing new was placed; a new ticket is "
        "ready. Review the order again."
    ),
    "too_many_requests": "Too many requests. Wait a moment and try again.",
}
# Refused before it was looked at: the same ticket may be sent again as it is.
KEEP_TICKET = frozenset({401, 408, 429})


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the trader; kind is success, info, warning or error."""

    kind: str
    text: str
    order_id: int | None = None


def words(order: Order | Ticket, tick_size: Decimal = formats.CENT) -> str:
    """`buy 10 AAPL, limit 190.10, day`."""
    terms = formats.terms(order, tick_size)
    return f"{order.side} {formats.quantity(order.quantity)} {order.symbol}, {terms}"


def placed(answer: OrderState | Order, ticket: Ticket | None = None) -> Notice:
    """Never more than the database knows: recorded is not filled."""
    what = f" ({words(ticket)})" if ticket else ""
    order = f"Order {answer.order_id}{what}"
    if answer.status == "denied":
        why = formats.reason(answer.reason_code)
        return Notice("error", f"{order} was denied. {why}{_fits(answer)}", answer.order_id)
    if answer.status == "rejected":
        why = formats.reason(answer.reason_code)
        return Notice("error", f"{order} was rejected by the broker. {why}", answer.order_id)
    again = getattr(answer, "replayed", False)
    recorded = "was already recorded, and once only" if again else "is recorded"
    # The sentence stays while the order goes on, so it names no state that grows old.
    return Notice("success", f"{order} {recorded}. The timeline shows its way.", answer.order_id)


def cancel_asked(answer: OrderState) -> Notice:
    """The venue decides whether a cancel comes in time."""
    state = formats.status(answer.status)
    return Notice("info", f"Order {answer.order_id}: {state}.", answer.order_id)


def replace_asked(answer: OrderState) -> Notice:
    """The venue decides whether the change comes in time."""
    state = formats.status(answer.status)
    return Notice("info", f"Order {answer.order_id}: change recorded, {state}.", answer.order_id)


def replace_refused(code: str, title: str, errors: Sequence[Mapping[str, Any]] = ()) -> Notice:
    """Why an order stays as it is; of a denial the rule, and the size that would have passed."""
    if code != "replace_denied" or not errors:
        return refused(code, title, errors)
    denial = errors[0]
    fits = denial.get("quantity_max")
    largest = f" The largest quantity that would have passed: {fits}." if fits else ""
    why = formats.reason(str(denial.get("type", "")))
    return Notice("error", f"The change was denied; the order stays as it is. {why}{largest}")


def dropped(ticket: Ticket) -> Notice:
    """The trader gave up on an order that was never recorded."""
    return Notice("info", f"Dropped: {words(ticket)}. Nothing was placed.")


def refused(code: str, title: str, errors: Sequence[Mapping[str, Any]] = ()) -> Notice:
    """Why the API refused, per field where it says so."""
    text = REFUSALS.get(code, f"{title.rstrip('.')}. ({code})")
    fields = [name for name in map(_field, errors) if name]
    if fields:
        text = f"Correct and review again: {', '.join(dict.fromkeys(fields))}."
    return Notice("error", text)


def _fits(answer: OrderState | Order) -> str:
    if answer.quantity_max is None:
        return ""
    return f" The largest quantity that would have passed: {formats.quantity(answer.quantity_max)}."


def _field(error: Mapping[str, Any]) -> str | None:
    loc = [part for part in error.get("loc", ()) if part in FIELD_NAMES]
    return FIELD_NAMES[loc[-1]] if loc else None
