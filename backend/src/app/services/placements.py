"""Placing orders one by one, fast on busy accounts too; side effect: Postgres.

Everything written to an account waits for the lock of its stream, so 64 callers on one account pay
64 commits one after the other. Here the first order of an account goes at once, in a transaction of
its own; those that arrive meanwhile wait and share the next one, in their order of arrival. A batch
is sent when the one before it has the account's lock, so the database reads one while it commits
the other. Each caller gets his own answer or refusal. An account that is idle waits for nothing.
"""

import asyncio
import contextvars
import copy
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from app.core.errors import AppError, DatabaseBusy, Unavailable
from app.core.logging import get_logger
from app.services import sp, sp_orders
from app.services.db import Database
from app.services.sp_orders import Placement
from app.services.sp_rows import OrderResult

log = get_logger(__name__)

Outcome = OrderResult | Exception

# Batches of one account at the database: while one writes and commits, the next is read there.
FLIGHTS_MAX = 2
# Waiting on one account; whoever comes then hears 503 at once.
WAITING_MAX = 1000


@dataclass(slots=True)
class _Waiting:
    placement: Placement
    answer: asyncio.Future[OrderResult]
    since: float = field(default_factory=monotonic)


@dataclass(slots=True)
class _Lane:
    """One account that is busy: what waits for it, what is in flight, and who serves them."""

    queue: deque[_Waiting] = field(default_factory=deque)
    flights: set[asyncio.Task[None]] = field(default_factory=set)
    # The last of them, until it has the account's lock: what is sent before might overtake it.
    unlocked: asyncio.Task[None] | None = None
    # Something arrived, has its lock, or landed.
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def has_lock(self, flight: asyncio.Task[None]) -> None:
        """Let the next batch follow this one."""
        if self.unlocked is flight:
            self.unlocked = None
        self.news.set()

    def landed(self, flight: asyncio.Task[None]) -> None:
        """Let the next batch follow, whatever became of this one."""
        self.flights.discard(flight)
        self.has_lock(flight)


class Placements:
    """Gathers placements of one account while another one of it is in flight."""

    def __init__(
        self, database: Database, *, batch_max: int, batch_wait_s: float, patience_s: float
    ) -> None:
        """`patience_s` is how long an order may wait for its turn before it hears 503."""
        self._database = database
        self._batch_max = batch_max
        self._batch_wait_s = batch_wait_s
        self._patience_s = patience_s
        self._lanes: dict[int, _Lane] = {}

    async def place(self, placement: Placement) -> OrderResult:
        """Record an order once; who stops waiting takes nothing from the others."""
        account_id = placement.order.account_id
        lane = self._lanes.get(account_id)
        if lane is not None and self._batch_max > 1:
            return await self._wait_in(lane, placement)
        if self._batch_max > 1:
            lane = self._lanes[account_id] = _Lane()
        try:
            return await self._place_alone(placement)
        finally:
            if lane is not None:
                self._hand_over(account_id, lane)

    async def close(self) -> None:
        """Let what is under way end."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _place_alone(self, it: Placement) -> OrderResult:
        async with self._database.single_statement() as connection:
            return await sp.place_order(connection, it.caller, it.request_id, it.order)

    async def _wait_in(self, lane: _Lane, placement: Placement) -> OrderResult:
        if len(lane.queue) >= WAITING_MAX:
            raise DatabaseBusy()
        waiting = _Waiting(placement, asyncio.get_running_loop().create_future())
        lane.queue.append(waiting)
        lane.news.set()
        return await waiting.answer

    def _hand_over(self, account_id: int, lane: _Lane) -> None:
        if not lane.queue:
            del self._lanes[account_id]
            return
        # In a context of its own: the lines it logs belong to no single request.
        lane.task = asyncio.create_task(
            self._serve(account_id, lane), context=contextvars.Context()
        )

    async def _serve(self, account_id: int, lane: _Lane) -> None:
        """Place what waits until nothing does; then the account is no longer busy."""
        try:
            while lane.queue or lane.flights:
                lane.news.clear()
                wait_s = self._wait_s(lane)
                if wait_s is None or wait_s > 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await lane.news.wait()
                    continue
                self._launch(lane)
        finally:
            del self._lanes[account_id]
            for left in lane.queue:
                _settle(left, DatabaseBusy())

    def _launch(self, lane: _Lane) -> None:
        batch = self._take(lane)
        flight = asyncio.create_task(self._fly(batch, lambda: lane.has_lock(flight)))
        lane.flights.add(flight)
        lane.unlocked = flight
        flight.add_done_callback(lane.landed)

    def _wait_s(self, lane: _Lane) -> float | None:
        """Say how long the next batch still gathers; None while it waits for news."""
        if not lane.queue or len(lane.flights) >= FLIGHTS_MAX or lane.unlocked:
            return None
        if len(lane.queue) >= self._batch_max:
            return 0.0
        return lane.queue[0].since + self._batch_wait_s - monotonic()

    def _take(self, lane: _Lane) -> list[_Waiting]:
        """Take the next batch; who has left is forgotten, who waited too long is told so."""
        batch: list[_Waiting] = []
        while lane.queue and len(batch) < self._batch_max:
            waiting = lane.queue.popleft()
            if waiting.answer.done():
                continue
            if monotonic() - waiting.since > self._patience_s:
                _settle(waiting, DatabaseBusy())
            else:
                batch.append(waiting)
        return batch

    async def _fly(self, batch: list[_Waiting], on_locked: Callable[[], None]) -> None:
        outcomes: list[Outcome] = [Unavailable()] * len(batch)
        try:
            outcomes = await self._outcomes_of([it.placement for it in batch], on_locked)
        finally:
            # Also when this process stops: nobody waits for ever.
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _settle(waiting, outcome)

    async def _outcomes_of(
        self, placements: list[Placement], on_locked: Callable[[], None]
    ) -> list[Outcome]:
        if len(placements) > 1:
            try:
                return await self._place_together(placements, on_locked)
            except Unavailable as error:
                return [error] * len(placements)
            except Exception as error:
                # One that nobody foresaw must not take the others with it.
                log.error("place_batch_failed", exc_info=error, orders=len(placements))
        return [await self._outcome_of(it) for it in placements]

    async def _place_together(
        self, placements: list[Placement], on_locked: Callable[[], None]
    ) -> list[Outcome]:
        async with self._database.single_statement() as connection:
            found = await sp_orders.place_batch(connection, placements, on_locked)
        if len(found) != len(placements):
            raise AppError("The procedure answered another number of orders.")
        return [*found]

    async def _outcome_of(self, placement: Placement) -> Outcome:
        try:
            return await self._place_alone(placement)
        except Exception as error:
            return error


def _settle(waiting: _Waiting, outcome: Outcome) -> None:
    if waiting.answer.done():
        return
    if isinstance(outcome, Exception):
        # A copy each: raising the same one in several tasks would mix their traces.
        waiting.answer.set_exception(copy.copy(outcome))
    else:
        waiting.answer.set_result(outcome)
