"""One connection to TWS as a conversation: what it has named, who waits, what it reports.

None of this is the state of an order: that is in Postgres, and a new conversation begins by asking
for everything again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from ib_async.contract import Contract
from ib_async.order import Order

from app.core.logging import get_logger
from app.services import ibkr_codes as codes
from app.services.broker import Outcome, OutcomeKind
from app.services.ibkr_codes import Verdict
from app.services.ibkr_messages import Fill, OrderSeen, Snapshot, StatusSeen
from app.services.ibkr_quotes import IbQuotes
from app.services.ibkr_reports import CLIENT_ORDER_ID, Reports
from app.services.ibkr_wire import TwsSession, steady_s

log = get_logger(__name__)

CANCELED_REASON = "CANCELED_AT_BROKER"
Answers = dict[int, asyncio.Future[Outcome]]


@dataclass(slots=True)
class _Named:
    """What this connection has shown of an order: enough to name it."""

    account: str
    order_id: int = 0
    perm_id: int = 0
    refusal: str | None = None
    ending: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the three sources show of an order, in the words of an `order_state`."""

    state: str
    perm_id: int
    reason: str | None = None
    # Who may cancel it: the id of a client while it works, None when it is over.
    client_id: int | None = None


class Conversation:
    """Listens to one session, reports what it says, and answers those who wait for a word."""

    def __init__(self, *, client_id: int, reports: Reports, quotes: IbQuotes, end_s: float) -> None:
        self.session = TwsSession(self, client_id=client_id)
        self.again = asyncio.Event()
        # Since when the broker behind TWS is reached and was asked for everything.
        self.reached_at: float | None = None
        self.is_upstream_lost = False
        self._reports = reports
        self._quotes = quotes
        self._end_s = end_s
        self._named: dict[str, _Named] = {}
        self._ref_of_id: dict[int, str] = {}
        self._ref_of_perm: dict[int, str] = {}
        self._places: Answers = {}
        self._cancels: Answers = {}
        self._absent_since: dict[str, float] = {}

    def order_id_of(self, ref: str) -> int | None:
        """Name the order as this client may, if it is this client's."""
        named = self._named.get(ref)
        return named.order_id or None if named is not None else None

    async def place(
        self, ref: str, account: str, contract: Contract, order: Order, *, timeout_s: float
    ) -> Outcome:
        """Write the order and wait for the first word about it; raises WireError."""
        order_id = self.session.take_order_id()
        self._named[ref] = _Named(account, order_id)
        self._ref_of_id[order_id] = ref
        log.info("tws_order_sent", client_order_id=ref, order_id=order_id)
        answer = _expect(self._places, order_id)
        try:
            self.session.place(order_id, contract, order)
            return await _answered(answer, timeout_s)
        finally:
            self._places.pop(order_id, None)

    async def cancel(self, order_id: int, *, timeout_s: float) -> Outcome:
        """Write the cancel and wait for the first word about it; raises WireError."""
        answer = _expect(self._cancels, order_id)
        try:
            self.session.cancel(order_id)
            return await _answered(answer, timeout_s)
        finally:
            self._cancels.pop(order_id, None)

    async def look(self, timeout_s: float) -> Snapshot:
        """Ask for everything the venue has; executions and working orders report themselves."""
        async with asyncio.timeout(timeout_s):
            snapshot = await self.session.snapshot()
        for seen in snapshot.completed:
            self._report_completed(seen)
        return snapshot

    def find(self, snapshot: Snapshot, ref: str) -> Found | None:
        """Look for an order by the reference we gave it, in all three sources."""
        named = self._named.get(ref)
        refusal = named.refusal if named is not None else None
        for is_over, orders in ((False, snapshot.working), (True, snapshot.completed)):
            for seen in orders:
                if seen.ref == ref:
                    self._absent_since.pop(ref, None)
                    return Found(
                        state=codes.state_of(
                            seen.status, completed=is_over, refused=refusal is not None
                        ),
                        perm_id=seen.perm_id,
                        reason=refusal or seen.reason,
                        client_id=None if is_over else seen.client_id,
                    )
        for fill in snapshot.fills:
            if fill.ref == ref:
                return Found(state="partially_filled", perm_id=fill.perm_id)
        return None

    def absent_for_s(self, ref: str) -> float:
        """Say how long ago the order was first not found; counts from this very call, if it is."""
        now = steady_s()
        return now - self._absent_since.setdefault(ref, now)

    def on_order(self, seen: OrderSeen) -> None:
        """Learn an order's names, then its status."""
        if not CLIENT_ORDER_ID.fullmatch(seen.ref):
            return
        named = self._named.setdefault(seen.ref, _Named(seen.account))
        if seen.client_id == self.session.client_id and seen.order_id > 0:
            named.order_id = seen.order_id
            self._ref_of_id[seen.order_id] = seen.ref
        self._take_status(seen.ref, named, seen.perm_id, seen.status)

    def on_status(self, seen: StatusSeen) -> None:
        """Find the order that a status speaks of."""
        ref = self._ref_of_perm.get(seen.perm_id)
        if ref is None and seen.client_id == self.session.client_id:
            ref = self._ref_of_id.get(seen.order_id)
        if ref is not None and ref in self._named:
            self._take_status(ref, self._named[ref], seen.perm_id, seen.status)

    def on_fill(self, fill: Fill) -> None:
        """Report an execution."""
        self._reports.fill(fill)

    def on_fee(self, exec_id: str, fee: Decimal, currency: str) -> None:
        """Report what an execution cost."""
        self._reports.fee(exec_id, fee, currency)

    def on_price(self, request_id: int, kind: int, price: float) -> None:
        """Hear a price."""
        self._quotes.on_price(request_id, kind, price)

    def on_data_type(self, request_id: int, kind: int) -> None:
        """Hear what kind of prices follow."""
        self._quotes.on_data_type(request_id, kind)

    def on_notice(self, request_id: int, code: int, text: str) -> None:
        """Hear of the connection behind TWS, or of one order."""
        if code == codes.UPSTREAM_LOST:
            log.warning("tws_broker_lost")
            self.is_upstream_lost, self.reached_at = True, None
        elif code in codes.UPSTREAM_RESTORED:
            log.info("tws_broker_restored", code=code)
            self.is_upstream_lost = False
            if code == codes.PRICES_LOST:
                self._quotes.forget()
            self.again.set()
        elif code == codes.SOCKET_RESET:
            self.session.abort("TWS moved to another port")
        elif request_id in self._ref_of_id:
            self._take_verdict(request_id, code, text)
        elif self._quotes.on_refusal(request_id, code, text):
            return
        elif code not in codes.WARNINGS_SYSTEM:
            log.warning("tws_notice", request_id=request_id, code=code, text=text)

    def on_closed(self) -> None:
        """Tell all who wait that nothing more comes."""
        self.reached_at = None
        self.again.set()
        for answer in (*self._places.values(), *self._cancels.values()):
            _settle(answer, unknown("connection lost"))

    def _take_status(self, ref: str, named: _Named, perm_id: int, status: str) -> None:
        if perm_id:
            named.perm_id = perm_id
            self._ref_of_perm[perm_id] = ref
        if status == codes.STATUS_INACTIVE:
            return
        if status in codes.STATUS_ENDED:
            self._end_soon(ref, named)
            return
        if status == codes.STATUS_CANCELING:
            _settle(self._cancels.get(named.order_id), accepted())
        elif status in codes.STATUS_WORKING:
            self._reports.order_event(
                named.account, ref, "accepted", broker_order_id=perm_text(named.perm_id)
            )
        _settle(self._places.get(named.order_id), accepted(named.perm_id))

    def _take_verdict(self, order_id: int, code: int, text: str) -> None:
        ref = self._ref_of_id[order_id]
        named = self._named[ref]
        verdict = codes.verdict_of(code)
        log.warning("tws_order_notice", client_order_id=ref, code=code, text=text, verdict=verdict)
        reason = f"IB {code}: {text}"
        if verdict is Verdict.CANCELED:
            self._end(ref, named)
        elif verdict is Verdict.CANCEL_REFUSED:
            if not _settle(self._cancels.get(order_id), rejected(reason)):
                self._reports.cancel_rejected(named.account, ref, reason)
        elif verdict is Verdict.CANCEL_UNMATCHED:
            _settle(self._cancels.get(order_id), unknown(reason))
        elif verdict is Verdict.REJECT and (order_id in self._places or code == codes.REJECTED):
            self._reject(ref, named, reason)

    def _reject(self, ref: str, named: _Named, reason: str) -> None:
        named.refusal = reason
        if named.ending is not None:
            named.ending.cancel()
        if not _settle(self._places.get(named.order_id), rejected(reason)):
            self._reports.order_event(named.account, ref, "rejected", reason=reason)

    def _end_soon(self, ref: str, named: _Named) -> None:
        # A rejection looks the same; its code may come a moment later.
        if named.ending is None:
            loop = asyncio.get_running_loop()
            named.ending = loop.call_later(self._end_s, self._end, ref, named)

    def _end(self, ref: str, named: _Named) -> None:
        if named.ending is not None:
            named.ending.cancel()
        if named.refusal is None:
            self._reports.order_event(named.account, ref, "canceled", reason=CANCELED_REASON)
            _settle(self._cancels.get(named.order_id), accepted())
            _settle(self._places.get(named.order_id), accepted(named.perm_id))

    def _report_completed(self, seen: OrderSeen) -> None:
        named = self._named.get(seen.ref)
        if not CLIENT_ORDER_ID.fullmatch(seen.ref) or (named is not None and named.refusal):
            return
        state = codes.state_of(seen.status, completed=True, refused=False)
        # What is filled shows in the executions; only they are booked.
        if state in ("canceled", "rejected"):
            self._reports.order_event(seen.account, seen.ref, state, reason=seen.reason)


def accepted(perm_id: int = 0) -> Outcome:
    """The venue has it."""
    return Outcome(kind=OutcomeKind.ACCEPTED, broker_order_id=perm_text(perm_id))


def rejected(reason: str) -> Outcome:
    """The venue will not do it."""
    return Outcome(kind=OutcomeKind.DEFINITE_REJECT, reason=reason)


def unknown(reason: str) -> Outcome:
    """The venue may have acted."""
    return Outcome(kind=OutcomeKind.UNKNOWN, reason=reason)


def perm_text(perm_id: int) -> str | None:
    """Write the broker's own id of an order; it has none before the broker took it."""
    return str(perm_id) if perm_id else None


def _expect(answers: Answers, order_id: int) -> asyncio.Future[Outcome]:
    answer = answers[order_id] = asyncio.get_running_loop().create_future()
    return answer


async def _answered(answer: asyncio.Future[Outcome], timeout_s: float) -> Outcome:
    try:
        async with asyncio.timeout(timeout_s):
            return await answer
    except TimeoutError:
        return unknown("no answer in time")


def _settle(answer: asyncio.Future[Outcome] | None, outcome: Outcome) -> bool:
    if answer is None or answer.done():
        return False
    answer.set_result(outcome)
    return True
