"""The broker port: what the worker may ask of a venue, and the six ways an attempt can end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol


class OutcomeKind(StrEnum):
    """How an attempt to send ended, as far as this side can prove it."""

    ACCEPTED = "accepted"
    DEFINITE_REJECT = "definite_reject"
    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    AUTH = "auth"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one attempt. `unknown` is never failure: the venue may have acted."""

    kind: OutcomeKind
    reason: str | None = None
    broker_order_id: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """One row of app.sp_begin_sends: an intent that is committed and may now go out."""

    event_id: int
    shard: int
    epoch: int
    action: str
    kind: str
    order_id: int
    client_order_id: str
    account_id: int
    route: str
    broker_account: str
    symbol: str
    side: str
    order_type: str
    # Of a replace, what is to change: None stays as it is.
    quantity: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    time_in_force: str
    expires_at: datetime | None
    valid_until: datetime
    attempts: int
    request_id: str | None


class Broker(Protocol):
    """A venue behind its own wire. No method raises for what the wire or the venue does."""

    async def place(self, send: Send) -> Outcome:
        """Send the order; `accepted` means the venue took charge of it, not that it works."""
        ...

    async def cancel(self, send: Send) -> Outcome:
        """Ask for the end of the order named by its client_order_id."""
        ...

    async def replace(self, send: Send) -> Outcome:
        """Ask for the values given in `send`; None leaves one as it is."""
        ...

    async def query(self, send: Send) -> Outcome:
        """Ask what became of the order; the answer itself arrives as an event."""
        ...

    async def acknowledge(self, broker_account: str, sequence: int) -> Outcome:
        """Tell the venue that all events up to `sequence` are stored."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...
