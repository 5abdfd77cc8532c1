"""The broker port over Interactive Brokers: a TWS or Gateway, reached by ib_async's wire.

Interactive Brokers does not recognize an order it has seen before. So every order carries its
client_order_id as orderRef, and before each send the venue is asked whether it has that one: among
working orders, completed orders and executions. What TWS reports goes to the inbox.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ib_async.order import Order

from app.core.logging import get_logger
from app.services.broker import Outcome, OutcomeKind, Send
from app.services.ibkr_conversation import (
    Conversation,
    Found,
    accepted,
    perm_text,
    rejected,
    unknown,
)
from app.services.ibkr_messages import Snapshot
from app.services.ibkr_quotes import IbQuotes
from app.services.ibkr_reports import Reports, Store
from app.services.ibkr_wire import WireError, steady_s, stock
from app.services.qc_client import number_text

log = get_logger(__name__)

ORDER_TYPES = {"market": "MKT", "limit": "LMT", "stop": "STP", "stop_limit": "STP LMT"}
TIMES_IN_FORCE = {"day": "DAY", "gtc": "GTC", "gtd": "GTD", "ioc": "IOC", "fok": "FOK"}
# Codes of paper accounts begin so. Others are refused: no real Gateway has carried this code yet.
PAPER_PREFIX = "D"
# An order that could not leave well before its time is over is not sent at all.
VALID_MARGIN = timedelta(seconds=1)
HELD_BACK_RETRY_S = 1.0
# Shares of the send time-out: asking first, then waiting for a word.
LOOK_SHARE = 0.5
ANSWER_SHARE = 0.45
QUERY_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the adapter waits for what."""

    connect_s: float = 5.0
    # Working orders, completed orders and executions, all three.
    snapshot_s: float = 10.0
    # How often all is asked for, though nothing happened; a bridge is silent after 150 s.
    beat_every_s: float = 30.0
    # Absence counts from so long after the broker was reached, when seen twice.
    settle_s: float = 30.0
    absent_again_s: float = 1.0
    fee_s: float = 5.0
    # A status "Cancelled" may be a rejection whose code comes a moment later.
    end_s: float = 0.5
    retry_min_s: float = 0.5
    retry_max_s: float = 30.0


class InteractiveBrokersBroker:
    """Places, cancels and asks after stock orders; reports what TWS tells of them."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        client_id: int,
        store: Store,
        send_timeout_s: float = 2.0,
        patience: Patience | None = None,
    ) -> None:
        self._host, self._port, self._client_id = host, port, client_id
        self._timeout_s = send_timeout_s
        self._patience = patience or Patience()
        self._reports = Reports(store, fee_wait_s=self._patience.fee_s, on_overflow=self._hang_up)
        self.quotes = IbQuotes()
        self._conversation: Conversation | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Connect in the background, and stay connected."""
        self._tasks = [
            asyncio.create_task(self._stay_connected()),
            asyncio.create_task(self._reports.deliver()),
        ]

    @property
    def is_ready(self) -> bool:
        """Say whether the broker is reached and was asked for everything it has."""
        return self._conversation is not None and self._conversation.reached_at is not None

    async def place(self, send: Send) -> Outcome:
        """Send the order, unless the venue has it or may have it."""
        refusal = refusal_of(send)
        if refusal is not None:
            return rejected(refusal)
        talk = self._usable(send)
        if isinstance(talk, Outcome):
            return talk
        snapshot = await self._look(talk, LOOK_SHARE)
        if snapshot is None:
            return _not_sent("the venue did not say whether it has the order")
        found = talk.find(snapshot, send.client_order_id)
        if found is not None:
            return self._report(send, found)
        # Nothing is awaited between the last check and the write.
        return self._held_back(talk, send) or await _sure(
            talk.place(
                send.client_order_id,
                send.broker_account,
                stock(send.symbol),
                order_of(send),
                timeout_s=self._timeout_s * ANSWER_SHARE,
            )
        )

    async def cancel(self, send: Send) -> Outcome:
        """Ask for the end of an order; only the client that placed it may."""
        talk = self._usable(send)
        if isinstance(talk, Outcome):
            return talk
        if talk.order_id_of(send.client_order_id) is None:
            refusal = await self._name_or_refuse(talk, send)
            if refusal is not None:
                return refusal
        order_id = talk.order_id_of(send.client_order_id)
        if order_id is None:
            return unknown("the venue does not show it")
        return self._held_back(talk, send) or await _sure(
            talk.cancel(order_id, timeout_s=self._timeout_s * ANSWER_SHARE)
        )

    async def _name_or_refuse(self, talk: Conversation, send: Send) -> Outcome | None:
        """Learn the number under which this client may cancel, or say why there is none."""
        snapshot = await self._look(talk, LOOK_SHARE)
        if snapshot is None:
            return _not_sent("the venue did not say whether it has the order")
        found = talk.find(snapshot, send.client_order_id)
        if found is None or found.client_id == self._client_id:
            return None
        if found.client_id is None:
            return self._report(send, found)
        return rejected(f"placed by client {found.client_id}; cancel it there")

    async def replace(self, send: Send) -> Outcome:
        """Refuse: an order is changed here by canceling it and placing another."""
        return rejected(f"REPLACE_NOT_SUPPORTED: {send.client_order_id} by route ib")

    async def query(self, send: Send) -> Outcome:
        """Ask the venue; what it has, or the proof that it has nothing, arrives as an event."""
        talk = self._usable(send)
        if isinstance(talk, Outcome):
            return talk
        snapshot = await self._look(talk, QUERY_SHARE)
        if snapshot is None:
            return unknown("the venue did not answer")
        found = talk.find(snapshot, send.client_order_id)
        if found is not None:
            return self._report(send, found)
        if not self._is_absence_proved(talk, send.client_order_id):
            return unknown("not seen, which proves nothing yet")
        self._reports.order_state(send.broker_account, send.client_order_id, known=False)
        return accepted()

    async def acknowledge(self, broker_account: str, sequence: int) -> Outcome:
        """Do nothing: TWS numbers no events and repeats none."""
        reason = f"nothing to acknowledge to {broker_account}, not even {sequence}"
        return Outcome(kind=OutcomeKind.ACCEPTED, reason=reason)

    async def close(self) -> None:
        """Hang up and stop; what was not stored yet is asked for again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _report(self, send: Send, found: Found) -> Outcome:
        self._reports.order_state(
            send.broker_account,
            send.client_order_id,
            known=True,
            status=found.state,
            broker_order_id=perm_text(found.perm_id),
            reason=found.reason,
        )
        return accepted(found.perm_id)

    def _usable(self, send: Send) -> Conversation | Outcome:
        """Give the conversation in which the venue may be asked, or say why there is none."""
        talk = self._conversation
        if talk is None or talk.session.closed.is_set():
            return _not_sent("not connected to TWS")
        if talk.reached_at is None:
            return _not_sent("TWS does not reach the broker")
        if send.broker_account not in talk.session.accounts:
            return _not_sent(f"TWS does not manage account {send.broker_account}")
        if talk.session.is_paced:
            return Outcome(
                kind=OutcomeKind.THROTTLED, reason="own limit", retry_after_s=HELD_BACK_RETRY_S
            )
        return talk

    def _held_back(self, talk: Conversation, send: Send) -> Outcome | None:
        """Say why nothing may be written now, if so."""
        usable = self._usable(send)
        if isinstance(usable, Outcome):
            return usable
        if usable is not talk:
            return _not_sent("another connection than the one that was asked")
        if talk.session.is_backlogged:
            return _not_sent("TWS does not read what was sent before")
        if datetime.now(UTC) > send.valid_until - VALID_MARGIN:
            return _not_sent("the time of this send is over")
        return None

    async def _look(self, talk: Conversation, share: float) -> Snapshot | None:
        try:
            return await talk.look(self._timeout_s * share)
        except (WireError, TimeoutError):
            return None

    def _is_absence_proved(self, talk: Conversation, ref: str) -> bool:
        absent_s = talk.absent_for_s(ref)
        reached_s = 0.0 if talk.reached_at is None else steady_s() - talk.reached_at
        return reached_s >= self._patience.settle_s and absent_s >= self._patience.absent_again_s

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            try:
                await self._converse()
                failures = 0
            except (WireError, OSError, TimeoutError) as error:
                log.warning("tws_not_connected", error=type(error).__name__, cause=str(error))
            except Exception:
                log.exception("tws_adapter_failed")
            ceiling_s = min(self._patience.retry_max_s, self._patience.retry_min_s * 2**failures)
            failures = min(failures + 1, 16)
            await asyncio.sleep(random.uniform(ceiling_s / 2, ceiling_s))  # noqa: S311 - jitter

    async def _converse(self) -> None:
        """Hold one conversation until it ends; it counts once everything was asked for."""
        talk = Conversation(
            client_id=self._client_id,
            reports=self._reports,
            quotes=self.quotes,
            end_s=self._patience.end_s,
        )
        try:
            await talk.session.open(self._host, self._port, timeout_s=self._patience.connect_s)
            self._conversation = talk
            self.quotes.attach(talk.session)
            log.info("tws_connected", accounts=list(talk.session.accounts))
            while not talk.session.closed.is_set():
                await self._beat(talk)
        finally:
            self._conversation = None
            self.quotes.detach()
            talk.session.abort("the conversation is over")

    async def _beat(self, talk: Conversation) -> None:
        talk.again.clear()
        if not talk.is_upstream_lost:
            await talk.look(self._patience.snapshot_s)
            if not talk.is_upstream_lost:
                talk.reached_at = steady_s() if talk.reached_at is None else talk.reached_at
                for account in talk.session.accounts:
                    self._reports.heartbeat(account, {"status": "Running"})
        try:
            async with asyncio.timeout(self._patience.beat_every_s):
                await talk.again.wait()
        except TimeoutError:
            return

    def _hang_up(self) -> None:
        if self._conversation is not None:
            self._conversation.session.abort("too much waits to be stored")


def refusal_of(send: Send) -> str | None:
    """Say why this order cannot go this way, if so."""
    if send.order_type not in ORDER_TYPES:
        return f"ORDER_TYPE_NOT_SUPPORTED: {send.order_type} by route ib"
    if send.time_in_force not in TIMES_IN_FORCE:
        return f"TIME_IN_FORCE_NOT_SUPPORTED: {send.time_in_force} by route ib"
    if not send.broker_account.startswith(PAPER_PREFIX):
        return f"LIVE_ACCOUNT_REFUSED: {send.broker_account} is no paper account"
    return None


def order_of(send: Send) -> Order:
    """Write the order; numbers go as text, so that no float stands between book and wire."""
    order = Order(
        action=send.side.upper(),
        orderType=ORDER_TYPES[send.order_type],
        tif=TIMES_IN_FORCE[send.time_in_force],
        account=send.broker_account,
        orderRef=send.client_order_id,
    )
    order.totalQuantity = number_text(send.quantity)  # type: ignore[assignment]
    if send.limit_price is not None:
        order.lmtPrice = number_text(send.limit_price)  # type: ignore[assignment]
    if send.stop_price is not None:
        order.auxPrice = number_text(send.stop_price)  # type: ignore[assignment]
    if send.expires_at is not None:
        order.goodTillDate = send.expires_at.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")
    return order


async def _sure(attempt: Awaitable[Outcome]) -> Outcome:
    """Let a connection that breaks from here on be what it is: unknown."""
    try:
        return await attempt
    except WireError as error:
        return unknown(str(error))


def _not_sent(reason: str) -> Outcome:
    return Outcome(kind=OutcomeKind.NOT_SENT, reason=reason)
