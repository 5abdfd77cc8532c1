"""What operators see and say: the outbox, lost orders, and breaks."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from app.models.dto import Inbound, Outbound, Text
from app.models.dto_admin import IdShown, MomentShown, NumberShown, moment_shown

MomentOrNever = Annotated[
    str | None, BeforeValidator(lambda value: None if value is None else moment_shown(value))
]


class OutboxShown(Outbound):
    """A row that is owed to a broker, or was given up."""

    event_id: IdShown
    account_id: IdShown
    kind: str
    order_id: IdShown
    attempts: int
    state: str
    next_attempt_at: MomentOrNever
    last_error: str | None
    created_at: MomentShown


class LostOrderShown(Outbound):
    """An order of which nobody knows whether a broker works it."""

    order_id: IdShown
    client_order_id: str
    account_id: IdShown
    reason_code: str | None
    broker_order_id: str | None
    cum_quantity: NumberShown
    updated_at: MomentShown


class BreakShown(Outbound):
    """Where our books and a broker's differ, or did."""

    break_id: IdShown
    account_id: IdShown
    figure: str
    subject: str
    ours: NumberShown
    theirs: NumberShown
    times: int
    state: str
    found_at: MomentShown
    seen_at: MomentShown
    ended_at: MomentOrNever
    resolved_by: str | None
    reason: str | None


class Requeued(Outbound):
    """What a row was before it was let go on."""

    was: Literal["pending", "dead"]


class OrderResolve(Inbound):
    """What became of a lost order, by an operator's finding."""

    status: Literal["canceled", "rejected", "expired", "submit_unknown"]
    reason: Text


class OrderResolved(Outbound):
    """The state of the order now."""

    status: str


class BreakResolve(Inbound):
    """What a break was."""

    reason: Text
