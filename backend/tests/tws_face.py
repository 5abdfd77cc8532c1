"""A TWS for tests: speaks the socket protocol at server version 178, for the adapter's messages.

It fills nothing by itself unless told to, keeps what it was sent, and misbehaves when asked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, auto

from tws_layouts import (
    UNSET,
    Value,
    VenueFill,
    VenueOrder,
    completed_order,
    frame,
    open_order,
    read_frame,
)

SERVER_VERSION = 178
ACCOUNT = "DU1000001"
REJECTED = "Order rejected - reason:no margin"
# How long after the status the code of a rejection may come.
CODE_DELAY_S = 0.02
WORKING = ("PreSubmitted", "Submitted", "PendingCancel")


class OnPlace(Enum):
    """What becomes of an order that arrives."""

    ACCEPT = auto()
    FILL = auto()
    REJECT = auto()
    REJECT_STATUS_FIRST = auto()
    WARN = auto()
    INACTIVE = auto()
    # Taken or not, and the connection is gone before a word of it.
    TAKE_AND_DROP = auto()
    DROP = auto()
    # Taken, without a word.
    TAKE_SILENTLY = auto()
    IGNORE = auto()


@dataclass
class Book:
    """What outlives every connection, and a restart of the face."""

    orders: list[VenueOrder] = field(default_factory=list)
    fills: list[VenueFill] = field(default_factory=list)

    def order(self, ref: str) -> VenueOrder:
        """Find the only order of a reference."""
        found = [order for order in self.orders if order.ref == ref]
        assert len(found) == 1, f"{len(found)} orders are called {ref}"
        return found[0]

    def next_order_id(self, client_id: int) -> int:
        """Say which id a client may use next."""
        used = [order.order_id for order in self.orders if order.client_id == client_id]
        return max(used, default=0) + 1

    def execute(self, ref: str, quantity: str, price: str) -> VenueFill:
        """Trade some of an order."""
        order, traded = self.order(ref), Decimal(quantity)
        value = order.average * order.filled + Decimal(price) * traded
        order.filled += traded
        order.average = value / order.filled
        if order.filled == order.quantity:
            order.status = "Filled"
        stem = f"0000e0d5.{len(self.fills) + 1:08x}.01"
        at = datetime.now(UTC).strftime("%Y%m%d-%H:%M:%S")
        fill = VenueFill(order, stem, traded, Decimal(price), at)
        self.fills.append(fill)
        return fill


class TwsFace:
    """Listens, remembers every message by its number, and answers as its book stands."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.on_place: dict[str, OnPlace] = {}
        self.accounts = [ACCOUNT]
        self.received: Counter[int] = Counter()
        self.commissions = True
        self.cancels_refused = False
        # Symbols whose prices are asked for, and the number of the request.
        self.watched: dict[str, int] = {}
        # Numbers of messages that are not answered.
        self.deaf_to: set[int] = set()
        # What is sent instead of the handshake, if anything.
        self.greeting: bytes | None = None
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._clients: dict[int, _Client] = {}
        self._serving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[TwsFace]:
        """Listen on a port until the block ends."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._server.close()
            await self.drop()

    @property
    def is_connected(self) -> bool:
        return bool(self._clients)

    async def drop(self) -> None:
        """End every connection at once."""
        for client in self._clients.values():
            client.writer.transport.abort()
        await asyncio.gather(*self._serving)

    def say_raw(self, frame: bytes) -> None:
        """Send bytes as they are."""
        for client in self._clients.values():
            client.writer.write(frame)

    def notice(self, code: int, text: str, request_id: int = -1) -> None:
        """Send a numbered message."""
        self._say(lambda client: client.notice(request_id, code, text))

    def price(self, symbol: str, kind: int, price: str) -> None:
        """Tell a price: 1 bid, 2 ask, 4 last; 66 and more are delayed."""
        request_id = self.watched[symbol]
        self._say(lambda client: client.say(1, 6, request_id, kind, price, 100, 0))

    def fill(self, ref: str, quantity: str, price: str) -> VenueFill:
        """Trade some of an order and tell its client, with the fee if fees are on."""
        fill = self.book.execute(ref, quantity, price)
        self._say(lambda client: client.execution(-1, fill))
        self._say(lambda client: client.status(fill.order))
        if self.commissions:
            self.commission(fill)
        return fill

    def commission(self, fill: VenueFill, fee: str = "1.0") -> None:
        """Tell what a fill cost."""
        self._say(lambda client: client.commission(fill, fee))

    def repeat(self, fill: VenueFill) -> None:
        """Tell of a fill once more."""
        self._say(lambda client: client.execution(-1, fill))
        self.commission(fill)

    def correct(self, fill: VenueFill, price: str) -> VenueFill:
        """Correct a fill's price."""
        corrected = VenueFill(
            fill.order, fill.stem, fill.quantity, Decimal(price), fill.at, fill.revision + 1
        )
        self.book.fills.append(corrected)
        self.repeat(corrected)
        return corrected

    def cancel(self, ref: str) -> None:
        """End an order from the venue's side."""
        self._end(self.book.order(ref))

    def _end(self, order: VenueOrder) -> None:
        order.status = "Cancelled"
        self._say(lambda client: client.notice(order.order_id, 202, "Order Canceled - reason:"))
        self._say(lambda client: client.status(order))

    def _say(self, word: Callable[[_Client], None]) -> None:
        for client in self._clients.values():
            word(client)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self.book, writer)
        self.connections += 1
        try:
            await self._shake_hands(reader, client)
            while True:
                self._take(client, await read_frame(reader))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            if self._clients.get(client.client_id) is client:
                del self._clients[client.client_id]
            writer.close()

    async def _shake_hands(self, reader: asyncio.StreamReader, client: _Client) -> None:
        assert await reader.readexactly(4) == b"API\0"
        await read_frame(reader)
        if self.greeting is not None:
            client.writer.write(self.greeting)
            return
        client.say(SERVER_VERSION, "20261123 09:30:00 UTC")

    def _take(self, client: _Client, fields: list[str]) -> None:
        number = int(fields[0])
        self.received[number] += 1
        if number in self.deaf_to:
            return
        if number == 71:
            self._start(client, int(fields[2]))
        elif number == 3:
            self._place(client, fields)
        elif number == 4:
            self._cancel(client, int(fields[2]))
        elif number == 16:
            client.working_orders()
        elif number == 99:
            client.completed_orders()
        elif number == 1:
            self.watched[fields[4]] = int(fields[2])
        elif number == 2:
            self.watched = {s: n for s, n in self.watched.items() if n != int(fields[2])}
        elif number == 7:
            client.executions(int(fields[2]), with_fees=self.commissions)

    def _start(self, client: _Client, client_id: int) -> None:
        if client_id in self._clients:
            client.notice(-1, 326, "Unable to connect as the client id is already in use.")
            client.writer.close()
            return
        client.client_id = client_id
        self._clients[client_id] = client
        client.say(15, 1, ",".join(self.accounts))
        client.say(9, 1, self.book.next_order_id(client_id))
        for code, farm in ((2104, "usfarm"), (2106, "ushmds"), (2158, "secdefnj")):
            client.notice(-1, code, f"Data farm connection is OK:{farm}")

    def _place(self, client: _Client, fields: list[str]) -> None:
        order_id, ref = int(fields[1]), fields[26]
        behavior = self.on_place.get(ref, OnPlace.ACCEPT)
        if behavior is OnPlace.DROP:
            client.writer.transport.abort()
        if behavior in (OnPlace.DROP, OnPlace.IGNORE):
            return
        if order_id < self.book.next_order_id(client.client_id):
            client.notice(order_id, 103, "Duplicate order id")
            return
        order = VenueOrder(
            ref=ref,
            account=fields[23],
            client_id=client.client_id,
            order_id=order_id,
            perm_id=900_001 + len(self.book.orders),
            symbol=fields[3],
            action=fields[16],
            quantity=Decimal(fields[17]),
            order_type=fields[18],
            limit=fields[19],
            tif=fields[21],
        )
        self.book.orders.append(order)
        self._answer(client, order, behavior)

    def _answer(self, client: _Client, order: VenueOrder, behavior: OnPlace) -> None:
        if behavior is OnPlace.TAKE_AND_DROP:
            client.writer.transport.abort()
        elif behavior in (OnPlace.REJECT, OnPlace.REJECT_STATUS_FIRST):
            order.status = "Cancelled"
            if behavior is OnPlace.REJECT:
                client.notice(order.order_id, 201, REJECTED)
            client.status(order)
            if behavior is OnPlace.REJECT_STATUS_FIRST:
                loop = asyncio.get_running_loop()
                loop.call_later(CODE_DELAY_S, client.notice, order.order_id, 201, REJECTED)
        elif behavior is OnPlace.INACTIVE:
            order.status = "Inactive"
            client.working(order)
        elif behavior is not OnPlace.TAKE_SILENTLY:
            if behavior is OnPlace.WARN:
                client.notice(order.order_id, 399, "Order Message: held until the market opens")
            client.working(order)
            client.status(order)
            if behavior is OnPlace.FILL:
                self.fill(order.ref, str(order.quantity), order.limit or "20")

    def _cancel(self, client: _Client, order_id: int) -> None:
        for order in self.book.orders:
            if (order.client_id, order.order_id) != (client.client_id, order_id):
                continue
            if order.status in WORKING and not self.cancels_refused:
                self._end(order)
            else:
                text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled"
                client.notice(order_id, 10148, f"{text}, state: {order.status}.")
            return
        client.notice(
            order_id, 10147, f"OrderId {order_id} that needs to be cancelled is not found."
        )


class _Client:
    """Writes the book's facts as messages to one connection."""

    def __init__(self, book: Book, writer: asyncio.StreamWriter) -> None:
        self.client_id = -1
        self.writer = writer
        self._book = book

    def say(self, *fields: Value) -> None:
        self.writer.write(frame(*fields))

    def notice(self, request_id: int, code: int, text: str) -> None:
        self.say(4, 2, request_id, code, text, "")

    def status(self, order: VenueOrder) -> None:
        rest = order.quantity - order.filled
        names: list[Value] = [order.perm_id, 0, "0.0", order.client_id, "", "0.0"]
        self.say(3, order.order_id, order.status, order.filled, rest, order.average, *names)

    def execution(self, request_id: int, fill: VenueFill) -> None:
        order = fill.order
        side = "BOT" if order.action == "BUY" else "SLD"
        self.say(
            *(11, request_id, order.order_id, *order.contract, fill.exec_id, fill.at),
            *(order.account, "NASDAQ", side, fill.quantity, fill.price, order.perm_id),
            *(order.client_id, 0, order.filled, order.average, order.ref, "", "", "", 2, 0),
        )

    def commission(self, fill: VenueFill, fee: str = "1.0") -> None:
        self.say(59, 1, fill.exec_id, fee, "USD", UNSET, UNSET, "")

    def working_orders(self) -> None:
        for order in self._book.orders:
            if order.status in (*WORKING, "Inactive"):
                self.working(order)
                self.status(order)
        self.say(53, 1)

    def completed_orders(self) -> None:
        for order in self._book.orders:
            if order.status in ("Filled", "Cancelled"):
                self.say(*completed_order(order))
        self.say(102)

    def executions(self, request_id: int, *, with_fees: bool) -> None:
        for fill in self._book.fills:
            self.execution(request_id, fill)
            if with_fees:
                self.commission(fill)
        self.say(55, 1, request_id)

    def working(self, order: VenueOrder) -> None:
        self.say(*open_order(order))
