"""The venue: the matching core with a clock, a market and a journal, behind one lock."""

import fcntl
import os
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import RLock

from paper import mishaps
from paper.faults import Faults, Kind
from paper.journal import Journal, Record
from paper.market import Replay, Tick, is_open, read_bars, utc_now
from paper.matching import Book
from paper.orders import ZERO, Event, Order, Refused
from paper.settings import Demo, Settings

RESTATING: tuple[Kind, ...] = ("correction", "bust")


class StateFolderInUse(Exception):
    """Another paper venue uses this state folder; stop it, or set another PAPER_STATE_DIR."""


class Venue:
    """Accounts and orders that survive a kill, fed by the replay."""

    def __init__(self, settings: Settings, demo: Demo, faults: Faults) -> None:
        self.lock = RLock()
        self.ticks: dict[str, Tick] = {}
        self.ticked_at = utc_now()
        # What must be on disk before an order is: the bridge's ledger.
        self.before_commit: Callable[[], None] = lambda: None
        self._settings, self._faults = settings, faults
        folder = settings.paper_state_dir
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._guard = _lock_folder(folder)
        self._journal = Journal(folder / "journal.log")
        self.book = Book(demo.instruments)
        self._events: dict[int, deque[Event]] = defaultdict(deque)
        started_at = utc_now()
        for record in self._journal.records:
            self.book.apply(record)
            if record["kind"] == "replay":
                started_at = datetime.fromisoformat(record["started_at"])
        if not self._journal.records:
            self._journal.append({"kind": "replay", "started_at": started_at.isoformat()})
        self._journal.records.clear()
        for account in demo.accounts:
            self._keep(self.book.open_account(account.project_id, account.opening_cash))
        tick_sizes = {instrument.symbol: instrument.tick_size for instrument in demo.instruments}
        bars = {s: b for s, b in read_bars(demo.bars_path).items() if s in tick_sizes}
        self._replay = Replay(
            bars,
            tick_sizes,
            started_at=started_at,
            session_seconds=settings.replay_session_seconds,
            seed=settings.paper_seed,
        )
        self._number = -1
        self.commit()

    def advance(self) -> bool:
        """Bring the market to now; True when there was a new tick."""
        now = utc_now()
        number = self._replay.number_at(now)
        with self.lock:
            if number == self._number:
                return False
            self.book.is_open = is_open(self._settings.market_hours, now)
            if self._number >= 0 and not self.book.is_open:
                return False
            self._number, self.ticked_at = number, now
            self._keep(self.book.expire(self._replay.session_at(now), now))
            for tick in self._replay.ticks(number):
                self.ticks[tick.symbol] = tick
                self._keep(self.book.tick(tick.symbol, tick.price, tick.volume, now))
            self.commit()
            return True

    def place(
        self,
        *,
        project_id: int,
        tag: str,
        symbol: str,
        side: str,
        quantity: Decimal,
        limit_price: Decimal | None,
        time_in_force: str,
        stop_price: Decimal | None = None,
        expires_at: datetime | None = None,
    ) -> Order:
        """Take an order, whatever becomes of it; the caller commits before it tells anyone."""
        now = utc_now()
        fault = self._faults.take("reject", [tag], project_id)
        with self.lock:
            self.book.is_open = is_open(self._settings.market_hours, now)
            place = partial(
                self.book.place,
                project_id=project_id,
                symbol=symbol,
                side=side,
                quantity=quantity,
                limit_price=limit_price,
                stop_price=stop_price,
                time_in_force=time_in_force,
                expires_at=expires_at,
                session=self._replay.session_at(now),
                at=now,
            )
            halved = self._faults.take("partial_then_cancel", [tag], project_id) is not None
            records = place(tag=tag, reject=fault.reason if fault else None, halved=halved)
            self._keep(records)
            if self._faults.take("external_order", [tag], project_id):
                self._keep(place(tag=""))
            if self._faults.take("position_drift", [tag], project_id):
                self._keep(mishaps.drift(self.book, project_id, symbol, Decimal(1)))
            return self.book.orders[records[0]["order_id"]]

    def cancel(self, order_id: int) -> bool:
        """End an open order; False when it is closed."""
        with self.lock:
            now = utc_now()
            records = self.book.cancel(order_id, now)
            order = self.book.orders[order_id]
            if records and self._faults.take("late_fill", [order.tag], order.project_id):
                records += mishaps.fill_late(self.book, order_id, now)
            self._keep(records)
            return bool(records)

    def replace(
        self,
        order_id: int,
        *,
        quantity: Decimal | None,
        limit_price: Decimal | None,
        stop_price: Decimal | None,
    ) -> str | None:
        """Change an open order where a value is given, or say why it stays as it is."""
        with self.lock:
            try:
                records = self.book.replace(order_id, quantity, limit_price, stop_price, utc_now())
            except Refused as refusal:
                return str(refusal)
            order = self.book.orders[order_id]
            if self._faults.take("duplicate_live_on_modify", [order.tag], order.project_id):
                records += mishaps.double(self.book, order_id, utc_now())
            self._keep(records)
            return None

    def hold(self, symbol: str, price: Decimal | None) -> None:
        """Hold an instrument at a price from this moment on, or release it."""
        with self.lock:
            now = utc_now()
            self._keep(self.book.hold(symbol, price))
            tick = self.ticks[symbol]
            self._keep(self.book.tick(symbol, tick.price, tick.volume, now))
            self.ticked_at = now
            self.commit()

    def open_account(self, project_id: int, cash: Decimal) -> None:
        """Give a project its opening cash, once."""
        with self.lock:
            self._keep(self.book.open_account(project_id, cash))
            self.commit()

    def reload(self, project_id: int) -> tuple[int, dict[int, int]]:
        """Begin a new run: its first order's number, and of open orders how much has happened.

        What nobody was told of by then, nobody will be.
        """
        with self.lock:
            self._events[project_id].clear()
            opened = (o for o in self.book.open.values() if o.project_id == project_id)
            return len(self.book.orders) + 1, {o.order_id: len(o.events) for o in opened}

    def liquidate(self, project_id: int) -> None:
        """Cancel what is open and trade every position to nothing."""
        with self.lock:
            for order in [o for o in self.book.open.values() if o.project_id == project_id]:
                self._keep(self.book.cancel(order.order_id, utc_now()))
            positions = self.book.accounts[project_id].positions
            held = {symbol: it.quantity for symbol, it in positions.items() if it.quantity}
        for symbol, quantity in held.items():
            self.place(
                project_id=project_id,
                tag="Liquidated",
                symbol=symbol,
                side="sell" if quantity > 0 else "buy",
                quantity=abs(quantity),
                limit_price=None,
                time_in_force="gtc",
            )
        with self.lock:
            self.commit()

    def orders(self, project_id: int | None = None) -> list[Order]:
        """All orders ever placed, of one project or all, on disk; call under the lock."""
        self.commit()
        orders = self.book.orders.values()
        return [order for order in orders if project_id in (None, order.project_id)]

    def take_events(self, project_id: int) -> list[Event]:
        """Hand out, once, what happened since the last call, when it is on disk."""
        with self.lock:
            self.commit()
            queue = self._events[project_id]
            events = list(queue)
            queue.clear()
            return events

    def restated(self, project_id: int, told: int) -> list[Event]:
        """Name, when they are on disk, the fills of a project that changed, but for the first."""
        with self.lock:
            self.commit()
            return self.book.restated[project_id][told:]

    def restate(self, event: Event) -> None:
        """Correct a fill by a tick or take it back, where a fault hits it; once at most."""
        order = self.book.orders[event.order_id]
        for kind in RESTATING:
            # What was placed elsewhere has no name by which it could be corrected here.
            if not order.tag or self._faults.take(kind, [order.tag], order.project_id) is None:
                continue
            with self.lock:
                tick_size = self.book.instruments[order.symbol].tick_size
                quantity = ZERO if kind == "bust" else event.quantity
                price = event.price if kind == "bust" else event.price + tick_size
                self._keep(mishaps.restate(self.book, event, quantity, price, utc_now()))
            return

    def commit(self) -> None:
        """Put on disk what happened, and before it what the bridge noted beforehand."""
        if not self._journal.is_synced:
            self.before_commit()
            self._journal.sync()

    def close(self) -> None:
        with self.lock:
            self._journal.close()
            os.close(self._guard)

    def _keep(self, records: list[Record]) -> None:
        for record in records:
            self._journal.append(record)
            if record["kind"] == "event":
                order = self.book.orders[record["order_id"]]
                self._events[order.project_id].append(order.events[record["event_id"] - 1])


def _lock_folder(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateFolderInUse(f"{folder}: {StateFolderInUse.__doc__}") from error
    return descriptor
