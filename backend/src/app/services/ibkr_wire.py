"""Side effect: Interactive Brokers. One connection to a TWS or Gateway, strict about every frame.

ib_async's Client and Decoder speak the protocol. Its IB and Wrapper classes, which keep orders in
memory and believe them, are not used, nor anything of it that touches the event loop or signals.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
import time
from collections.abc import Callable, Sequence
from datetime import UTC
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from ib_async.client import Client
from ib_async.contract import Contract
from ib_async.decoder import Decoder
from ib_async.objects import CommissionReport, Execution, ExecutionFilter
from ib_async.order import Order, OrderState

from app.core.logging import get_logger
from app.services.ibkr_messages import (
    Fill,
    Listener,
    OrderSeen,
    Snapshot,
    StatusSeen,
    read_fill,
)

log = get_logger(__name__)

FRAME_MAX = 1 << 20
# What the adapter asks for; everything else a TWS may send is skipped.
MESSAGES = frozenset({1, 3, 4, 5, 9, 11, 15, 53, 55, 58, 59, 101, 102})
MESSAGE_ID_MAX = 1000
REQUEST_IDS_FROM = 1_000_000_000
# Room below the limit of 50 messages a second, which TWS answers by hanging up.
SENDS_PER_SECOND_MAX = 40
# What the other side has not confirmed by then never arrives: the kernel gives up on it.
UNCONFIRMED_MAX_MS = 5_000
TEXT_MAX = 200


class WireError(Exception):
    """The connection is over."""


class TwsSession:
    """One connection, from the handshake until either side ends it; then a new one is made."""

    def __init__(self, listener: Listener, *, client_id: int) -> None:
        self.client_id = client_id
        self.accounts: Sequence[str] = ()
        self.closed = asyncio.Event()
        self._listener = listener
        self._next_order_id = 1
        self._next_request_id = REQUEST_IDS_FROM
        self._snapshot = Snapshot()
        self._answers: dict[object, asyncio.Future[None]] = {}
        self._asking = asyncio.Lock()
        self._queued: asyncio.Task[Snapshot] | None = None
        self._client = _StrictClient(_Receiver(self), self.abort)

    async def open(self, host: str, port: int, *, timeout_s: float) -> None:
        """Connect and shake hands; raises WireError or OSError."""
        opening = asyncio.create_task(
            self._client.connectAsync(  # type: ignore[no-untyped-call]
                host, port, self.client_id, timeout_s
            )
        )
        ending = asyncio.create_task(self.closed.wait())
        try:
            await asyncio.wait({opening, ending}, return_when=asyncio.FIRST_COMPLETED)
            if self.closed.is_set():
                raise WireError("closed during the handshake")
            await opening
        except TimeoutError:
            raise WireError("no handshake in time") from None
        finally:
            for task in (opening, ending):
                task.cancel()
            await asyncio.gather(opening, ending, return_exceptions=True)
        self._harden()

    def take_order_id(self) -> int:
        """Give the next id of this client: above all that TWS has shown us."""
        taken, self._next_order_id = self._next_order_id, self._next_order_id + 1
        return taken

    def note_order_id(self, order_id: int) -> None:
        """Keep new ids above one that exists."""
        self._next_order_id = max(self._next_order_id, order_id + 1)

    @property
    def is_paced(self) -> bool:
        """Say whether as much was sent in the last second as TWS stands."""
        return self._client.sent_in_last_second() >= SENDS_PER_SECOND_MAX

    @property
    def is_backlogged(self) -> bool:
        """Say whether bytes wait in this process: what is added may leave at any later time."""
        transport = self._client.conn.transport
        return transport is None or transport.get_write_buffer_size() > 0

    def place(self, order_id: int, contract: Contract, order: Order) -> None:
        """Write the order to the socket."""
        self._call(self._client.placeOrder, order_id, contract, order)

    def cancel(self, order_id: int) -> None:
        """Write the cancel to the socket."""
        self._call(self._client.cancelOrder, order_id)

    def watch(self, symbol: str) -> int:
        """Ask for the prices of a stock as they change; returns the number of the request."""
        request_id = self._take_request_id()
        self._call(self._client.reqMktData, request_id, stock(symbol), "", False, False, "")
        return request_id

    def unwatch(self, request_id: int) -> None:
        """Ask for no more of these prices."""
        self._call(self._client.cancelMktData, request_id)

    def _take_request_id(self) -> int:
        taken, self._next_request_id = self._next_request_id, self._next_request_id + 1
        return taken

    async def snapshot(self) -> Snapshot:
        """Ask all three sources; the question is asked after this call, shared by all waiting."""
        if self._queued is None:
            self._queued = asyncio.create_task(self._ask_next())
            self._queued.add_done_callback(_retrieve)
        return await asyncio.shield(self._queued)

    async def _ask_next(self) -> Snapshot:
        async with self._asking:
            self._queued = None
            self._snapshot = Snapshot()
            request_id = self._take_request_id()
            answers = [self._expect(key) for key in ("working", "completed", request_id)]
            self._call(self._client.reqAllOpenOrders)
            self._call(self._client.reqCompletedOrders, True)
            self._call(self._client.reqExecutions, request_id, ExecutionFilter())
            await asyncio.gather(*answers)
            return self._snapshot

    def _expect(self, key: object) -> asyncio.Future[None]:
        if self.closed.is_set():
            raise WireError("not connected")
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        return answer

    def _call(self, request: Callable[..., None], *arguments: object) -> None:
        if self.closed.is_set():
            raise WireError("not connected")
        try:
            request(*arguments)
        except OSError as error:
            raise WireError(str(error)) from error

    def abort(self, reason: str) -> None:
        """End the connection at once, and with it what is still in the socket."""
        if not self.closed.is_set():
            log.warning("tws_hung_up", reason=reason[:TEXT_MAX])
        transport = self._client.conn.transport
        if transport is not None:
            transport.abort()
        self.end()

    def end(self) -> None:
        """Note that the connection is over."""
        if self.closed.is_set():
            return
        self.closed.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WireError("connection lost"))
                answer.exception()
        self._listener.on_closed()

    def answered(self, key: object) -> None:
        """Let go of who waits for the end of a list."""
        answer = self._answers.pop(key, None)
        if answer is not None and not answer.done():
            answer.set_result(None)

    def working(self, seen: OrderSeen) -> None:
        """Take in an order that is not over."""
        if seen.client_id == self.client_id or seen.order_id > 0:
            self.note_order_id(seen.order_id)
        self._snapshot.working.append(seen)
        self._listener.on_order(seen)

    def completed(self, seen: OrderSeen) -> None:
        """Take in an order that is over."""
        self._snapshot.completed.append(seen)

    def fill(self, request_id: int, fill: Fill) -> None:
        """Take in an execution, reported or asked for."""
        if request_id >= REQUEST_IDS_FROM:
            self._snapshot.fills.append(fill)
        self._listener.on_fill(fill)

    @property
    def listener(self) -> Listener:
        return self._listener

    def _harden(self) -> None:
        transport = self._client.conn.transport
        if transport is None:
            raise WireError("closed during the handshake")
        wire = transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # An order must not leave the kernel's buffer after the connection was given up.
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNCONFIRMED_MAX_MS)


class _StrictDecoder(Decoder):
    """Decodes what we use and raises on what it cannot read; ib_async's own logs and goes on."""

    def __init__(self, wrapper: Any, server_version: int) -> None:
        super().__init__(wrapper, server_version)
        self.handlers = {key: self.handlers[key] for key in MESSAGES}

    def wrap(self, method: str, types: list[type], skip: int = 2) -> Callable[[list[str]], None]:
        def handle(fields: list[str]) -> None:
            if len(fields) < skip + len(types):
                raise ValueError(f"{method} has {len(fields)} fields")
            values = zip(types, fields[skip:], strict=False)
            getattr(self.wrapper, method)(
                *(text if kind is str else kind(text or 0) for kind, text in values)
            )

        return handle

    def interpret(self, fields: list[str]) -> None:
        number = int(fields[0])
        if not 0 < number < MESSAGE_ID_MAX:
            raise ValueError(f"no message has the number {number}")
        handler = self.handlers.get(number)
        if handler is not None:
            handler(fields)


class _StrictClient(Client):
    """ib_async's client, ended by the first frame that makes no sense."""

    def __init__(self, receiver: _Receiver, abort: Callable[[str], None]) -> None:
        logging.getLogger("ib_async").setLevel(logging.CRITICAL)
        super().__init__(receiver)  # type: ignore[no-untyped-call]
        self.decoder = _StrictDecoder(receiver, 0)
        self._abort = abort

    def sent_in_last_second(self) -> int:
        now = asyncio.get_running_loop().time()
        return len(self._msgQ) + sum(1 for at in self._timeQ if now - at <= 1)

    def _onSocketHasData(self, data: bytes) -> None:  # noqa: N802 - ib_async's name
        try:
            super()._onSocketHasData(data)  # type: ignore[no-untyped-call]
            if len(self._data) >= 4:
                (length,) = struct.unpack(">I", self._data[:4])
                if not 0 < length <= FRAME_MAX:
                    raise ValueError(f"a frame of {length} bytes")
        except Exception as error:
            self._abort(f"frame not understood: {type(error).__name__}: {error}")


class _Receiver:
    """Takes ib_async's callbacks, under its names, and hands on what they say in our words."""

    defaultTimezone = UTC  # noqa: N815 - ib_async's name
    # Times without a zone are UTC: the form with a dash is defined so.
    ib = SimpleNamespace(TimezoneTWS="UTC")

    def __init__(self, session: TwsSession) -> None:
        self._session = session

    def connectAck(self) -> None:  # noqa: N802
        log.debug("tws_handshake")

    def nextValidId(self, order_id: int) -> None:  # noqa: N802
        self._session.note_order_id(order_id - 1)

    def managedAccounts(self, accounts: str) -> None:  # noqa: N802
        self._session.accounts = tuple(name for name in accounts.split(",") if name)

    def orderStatus(  # noqa: N802
        self, order_id: int, status: str, _f: float, _r: float, _a: float, perm_id: int, *rest: Any
    ) -> None:
        client_id = rest[2]
        self._session.listener.on_status(
            StatusSeen(status=status, perm_id=perm_id, order_id=order_id, client_id=client_id)
        )

    def openOrder(  # noqa: N802
        self, order_id: int, _contract: Contract, order: Order, state: OrderState
    ) -> None:
        self._session.working(
            OrderSeen(
                ref=order.orderRef,
                account=order.account,
                status=state.status,
                perm_id=order.permId,
                order_id=order_id,
                client_id=order.clientId,
            )
        )

    def openOrderEnd(self) -> None:  # noqa: N802
        self._session.answered("working")

    def completedOrder(  # noqa: N802
        self, _contract: Contract, order: Order, state: OrderState
    ) -> None:
        self._session.completed(
            OrderSeen(
                ref=order.orderRef,
                account=order.account,
                status=state.status,
                perm_id=order.permId,
                reason=state.completedStatus or None,
            )
        )

    def completedOrdersEnd(self) -> None:  # noqa: N802
        self._session.answered("completed")

    def execDetails(  # noqa: N802
        self, request_id: int, _contract: Contract, execution: Execution
    ) -> None:
        self._session.fill(request_id, read_fill(execution))

    def execDetailsEnd(self, request_id: int) -> None:  # noqa: N802
        self._session.answered(request_id)

    def commissionReport(self, report: CommissionReport) -> None:  # noqa: N802
        if math.isfinite(report.commission) and abs(report.commission) < 1e12:
            fee = Decimal(repr(report.commission))
            self._session.listener.on_fee(report.execId, fee, report.currency)

    def priceSizeTick(  # noqa: N802
        self, request_id: int, kind: int, price: float, _size: float
    ) -> None:
        self._session.listener.on_price(request_id, kind, price)

    def marketDataType(self, request_id: int, kind: int) -> None:  # noqa: N802
        self._session.listener.on_data_type(request_id, kind)

    def error(self, request_id: int, code: int, text: str, _advanced: str) -> None:
        self._session.listener.on_notice(request_id, code, text[:TEXT_MAX])

    def connectionClosed(self) -> None:  # noqa: N802
        self._session.end()

    def setEventsDone(self) -> None:  # noqa: N802
        self._session.end()


def stock(symbol: str) -> Contract:
    """Name a stock in US dollars by its symbol; the broker writes a share class behind a space."""
    return Contract(
        secType="STK", symbol=symbol.replace(".", " "), exchange="SMART", currency="USD"
    )


def steady_s() -> float:
    """Tell time that never jumps."""
    return time.monotonic()


def _retrieve(task: asyncio.Task[Snapshot]) -> None:
    # Whoever waited may be gone; an error that nobody asks for would be logged as forgotten.
    if not task.cancelled():
        task.exception()
