"""Turns what Interactive Brokers reports into events of the inbox, in order, and delivers them."""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.core.errors import SourceUnknown
from app.core.logging import get_logger
from app.services.ibkr_messages import Fill
from app.services.qc_client import moment_text, number_text

log = get_logger(__name__)

Event = dict[str, Any]
# (broker account, events, heartbeat): returns when they are stored.
Store = Callable[[str, list[Event], Event | None], Awaitable[None]]

# As in app.orders: whatever else stands in an orderRef was not written by us.
CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
CURRENCY = re.compile(r"[A-Z]{3}")
BATCH_MAX = 200
WAITING_MAX = 20_000
KNOWN_MAX = 100_000
RETRY_MIN_S = 0.2
RETRY_MAX_S = 5.0


@dataclass(slots=True)
class _Held:
    """An event in its order's line; an execution waits there for its fee."""

    account: str
    event: Event
    ready: bool = True


@dataclass(frozen=True, slots=True)
class _Parcel:
    account: str
    event: Event | None = None
    heartbeat: Event | None = None


@dataclass(slots=True)
class _Lines:
    """What waits: per order, and in all."""

    by_ref: dict[str, deque[_Held]] = field(default_factory=dict)
    by_exec_id: dict[str, tuple[str, _Held]] = field(default_factory=dict)
    parcels: deque[_Parcel] = field(default_factory=deque)
    known: set[str] = field(default_factory=set)


class Reports:
    """Events of one order leave in the order they came; all of them leave in one queue.

    An execution's fee comes in a message of its own. The ledger books both together, so the
    execution waits for it, but not for long: a position is wrong without it, a fee only missing.
    """

    def __init__(self, store: Store, *, fee_wait_s: float, on_overflow: Callable[[], None]) -> None:
        self._store = store
        self._fee_wait_s = fee_wait_s
        self._on_overflow = on_overflow
        self._lines = _Lines()
        self._bell = asyncio.Event()
        self._not_ours: set[str] = set()

    def order_event(self, account: str, ref: str, status: str, **fields: str | None) -> None:
        """Report a change of an order, once."""
        event_id = f"{ref}:{status}"
        if self._is_new(event_id):
            self._add(account, ref, event_id, {"kind": "order_event", "status": status, **fields})

    def order_state(self, account: str, ref: str, **fields: str | bool | None) -> None:
        """Answer a question; each answer counts."""
        event_id = f"{ref}:state:{uuid.uuid4().hex}"
        self._add(account, ref, event_id, {"kind": "order_state", "executions": [], **fields})

    def cancel_rejected(self, account: str, ref: str, reason: str) -> None:
        """Report that a cancel was refused."""
        event_id = f"{ref}:cancel_rejected:{uuid.uuid4().hex}"
        self._add(account, ref, event_id, {"kind": "cancel_rejected", "reason": reason})

    def fill(self, fill: Fill) -> None:
        """Report an execution, as soon as its fee is known."""
        if not CLIENT_ORDER_ID.fullmatch(fill.ref) or not self._is_new(fill.exec_id):
            return
        if fill.revision > 1:
            log.warning("tws_execution_corrected", exec_id=fill.exec_id, client_order_id=fill.ref)
        held = self._add(
            fill.account,
            fill.ref,
            f"exec:{fill.stem}:{fill.revision}",
            {
                "kind": "order_event",
                "status": "partially_filled",
                "broker_order_id": str(fill.perm_id) if fill.perm_id else None,
                "exec_id": fill.stem,
                # Theirs count from 1.
                "exec_revision": str(max(fill.revision - 1, 0)),
                "fill_quantity": number_text(fill.quantity),
                "fill_price": number_text(fill.price),
                "occurred_at": moment_text(fill.executed_at),
            },
            ready=False,
        )
        self._lines.by_exec_id[fill.exec_id] = (fill.ref, held)
        loop = asyncio.get_running_loop()
        loop.call_later(self._fee_wait_s, self._book_without_fee, fill.exec_id)

    def fee(self, exec_id: str, fee: Decimal, currency: str) -> None:
        """Add the fee to its execution."""
        ref, held = self._lines.by_exec_id.pop(exec_id, (None, None))
        if ref is None or held is None:
            # Asking for executions repeats their fees, so most of these are old news.
            log.debug("tws_fee_without_execution", exec_id=exec_id)
            return
        if fee < 0:
            log.warning("tws_rebate_not_booked", exec_id=exec_id, fee=str(fee))
        held.event["fee"] = number_text(max(fee, Decimal(0)))
        if CURRENCY.fullmatch(currency):
            held.event["fee_currency"] = currency
        held.ready = True
        self._release(ref)

    def heartbeat(self, account: str, heartbeat: Event) -> None:
        """Report that the account is heard, behind everything that was reported before."""
        self._post(_Parcel(account, heartbeat=heartbeat))

    async def deliver(self) -> None:
        """Store what waits, for ever; what cannot be stored now is stored later."""
        failures = 0
        while True:
            while not self._lines.parcels:
                self._bell.clear()
                await self._bell.wait()
            try:
                await self._deliver_next()
                failures = 0
            except Exception as error:
                ceiling_s = min(RETRY_MAX_S, RETRY_MIN_S * 2**failures)
                failures = min(failures + 1, 16)
                log.warning("tws_reports_not_stored", error=type(error).__name__)
                await asyncio.sleep(random.uniform(ceiling_s / 2, ceiling_s))  # noqa: S311

    async def _deliver_next(self) -> None:
        parcels = self._lines.parcels
        batch: list[_Parcel] = []
        for parcel in parcels:
            if parcel.account != parcels[0].account or len(batch) == BATCH_MAX:
                break
            batch.append(parcel)
            if parcel.heartbeat is not None:
                break
        events = [parcel.event for parcel in batch if parcel.event is not None]
        try:
            await self._store(batch[0].account, events, batch[-1].heartbeat)
        except SourceUnknown:
            self._say_not_ours(batch[0].account)
        if parcels is self._lines.parcels:
            for _ in batch:
                parcels.popleft()

    def _say_not_ours(self, account: str) -> None:
        # The login may manage accounts that nobody gave to the platform, or not yet.
        if account not in self._not_ours:
            self._not_ours.add(account)
            log.warning("tws_account_not_ours", account=account)

    def _is_new(self, name: str) -> bool:
        known = self._lines.known
        if name in known:
            return False
        if len(known) >= KNOWN_MAX:
            known.clear()
        known.add(name)
        return True

    def _add(
        self, account: str, ref: str, event_id: str, fields: Event, *, ready: bool = True
    ) -> _Held:
        event = {
            "event_id": event_id,
            "client_order_id": ref,
            "occurred_at": moment_text(datetime.now(UTC)),
            **{name: value for name, value in fields.items() if value is not None},
        }
        held = _Held(account, event, ready)
        self._lines.by_ref.setdefault(ref, deque()).append(held)
        self._release(ref)
        return held

    def _book_without_fee(self, exec_id: str) -> None:
        ref, held = self._lines.by_exec_id.pop(exec_id, (None, None))
        if ref is None or held is None:
            return
        log.warning("tws_fee_missing", exec_id=exec_id, client_order_id=ref)
        held.ready = True
        self._release(ref)

    def _release(self, ref: str) -> None:
        line = self._lines.by_ref.get(ref)
        while line and line[0].ready:
            held = line.popleft()
            self._post(_Parcel(held.account, event=held.event))
        if not line:
            self._lines.by_ref.pop(ref, None)

    def _post(self, parcel: _Parcel) -> None:
        if len(self._lines.parcels) >= WAITING_MAX:
            # TWS still has all of it: forget, hang up, and ask anew when the database is back.
            log.error("tws_reports_overflow", waiting=len(self._lines.parcels))
            self._lines = _Lines()
            self._on_overflow()
            return
        self._lines.parcels.append(parcel)
        self._bell.set()
