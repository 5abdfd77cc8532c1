"""Carries what the outbox owes to the brokers, and what the brokers report into the books.

Two commits surround a send: `sp_begin_sends` records that it is about to happen, and
`sp_finish_sends` how it ended. Whatever dies in between leaves a row that says "sending", and such
a row is asked about, never sent again blindly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg
from structlog.contextvars import bound_contextvars

from app.core.logging import get_logger
from app.outbox import repo
from app.services.broker import Broker, Outcome, OutcomeKind, Send
from app.services.db import Database

from .breaker import Breaker
from .bridges import Bridges
from .faults import is_database_absent, log_failure
from .lanes import Lanes
from .metrics import Metrics
from .waiting import Backoff, Bell

log = get_logger(__name__)

IN_FLIGHT_MAX = 64
RECORD_EVERY_S = 1.0
INBOX_BATCH_MAX = 100
INBOX_READ_MAX = 1_000
# In one transaction, for whose time their accounts are locked.
APPLIED_TOGETHER_MAX = 16
# What opens these lanes again is seen at once, so the wait is short and does not grow.
HELD_BACK_RETRY_S = 1.0
# With a batch more, still within what one reading of the inbox may ask for.
QUARANTINE_MAX = 900
QUARANTINE_DELAY_MIN_S = 1.0
QUARANTINE_DELAY_MAX_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SendLimits:
    """How long a send may take, how long the far end may act on it, how long an order may wait."""

    timeout_s: float
    valid_s: float
    ttl_s: float


class Sender:
    """Begins sends, at most one per account, and records how each ended.

    Accounts don't wait for each other: a slow answer holds up its own lane only. What ends at about
    the same time is recorded in one transaction.
    """

    def __init__(
        self,
        database: Database,
        brokers: dict[str, Broker],
        lanes: Lanes,
        bridges: Bridges,
        metrics: Metrics,
        *,
        limits: SendLimits,
        on_account: Callable[[int], None],
        on_recorded: Callable[[], None],
    ) -> None:
        self.ended = Bell()
        self._database = database
        self._brokers = brokers
        self._lanes = lanes
        self._bridges = bridges
        self._metrics = metrics
        self._limits = limits
        self._on_account = on_account
        self._on_recorded = on_recorded
        self._breakers = {
            route: Breaker(route, on_change=metrics.breaker_open.labels(route).set)
            for route in brokers
        }
        self._attempts: set[asyncio.Task[None]] = set()
        self._results: list[repo.SendResult] = []
        # The last look found as many as there was room for, so others wait.
        self._more_wait = False

    async def step(self) -> bool:
        """Begin what may go out now; the ends of sends and pokes ring for the next step."""
        room = IN_FLIGHT_MAX - len(self._attempts) - len(self._results)
        if room > 0 and self._lanes.may_send and self._bridges.any_heard:
            begun = await self._begin(room)
            self._more_wait = len(begun) == room
            for send in begun:
                attempt = asyncio.create_task(self._attempt(send))
                self._attempts.add(attempt)
                attempt.add_done_callback(self._attempts.discard)
        return False

    async def record(self, over: asyncio.Event) -> None:
        """Record outcomes as they come, until the session is over and nothing is in flight."""
        try:
            while not over.is_set() or self._attempts or self._results:
                await self.ended.wait(RECORD_EVERY_S)
                if self._results:
                    await self._record_waiting()
        finally:
            for attempt in self._attempts:
                attempt.cancel()

    async def _record_waiting(self) -> None:
        results, self._results = self._results, []
        if self._more_wait:
            # There is room for them while these are recorded.
            self._on_recorded()
        try:
            await self._finish(results)
        except Exception as error:
            # The rows still say "sending": whoever owns them next asks before it sends.
            self._metrics.failed("record")
            events = [result.event_id for result in results]
            log_failure("sends_not_recorded", error, events=events)
        self._on_recorded()

    async def _begin(self, limit: int) -> list[Send]:
        async with self._database.transaction() as connection:
            return await repo.begin_sends(
                connection,
                self._lanes.owner,
                limit=limit,
                valid_s=self._limits.valid_s,
                ttl_s=self._limits.ttl_s,
                make=Send,
            )

    async def _attempt(self, send: Send) -> None:
        self._on_account(send.account_id)
        with bound_contextvars(request_id=send.request_id):
            started_at = self._lanes.lease.now()
            outcome = await self._send(send)
            elapsed_s = self._lanes.lease.now() - started_at
            self._metrics.send_seconds.labels(send.action).observe(elapsed_s)
            self._metrics.sends.labels(send.action, outcome.kind.value).inc()
            _log_attempt(send, outcome, elapsed_s)
        self._results.append(_result(send, outcome))
        self.ended.ring()

    async def _send(self, send: Send) -> Outcome:
        """Touch the wire once, or say why not; every doubt about what happened is `unknown`."""
        call = self._call(send)
        if call is None:
            return Outcome(kind=OutcomeKind.NOT_SENT, reason=f"no_adapter_for_route_{send.route}")
        if not self._bridges.is_heard(send.route, send.broker_account):
            return _held_back("bridge_not_heard")
        breaker = self._breakers[send.route]
        if not breaker.allows(self._limits.timeout_s):
            return _held_back("route_left_alone", max(breaker.wait_s, HELD_BACK_RETRY_S))
        # Nothing is awaited between this check and the call: a process that was stopped in
        # between finds its lease old here, before the first byte.
        if not self._lanes.holds(send.shard, send.epoch):
            return _held_back("lease_too_old")
        outcome = await self._touch(call, send)
        breaker.note(outcome.kind)
        return outcome

    async def _touch(self, call: Callable[[Send], Awaitable[Outcome]], send: Send) -> Outcome:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await call(send)
        except TimeoutError:
            return Outcome(kind=OutcomeKind.UNKNOWN, reason="send_timeout")
        except Exception as error:
            log_failure("adapter_failed", error, event_id=send.event_id)
            return Outcome(kind=OutcomeKind.UNKNOWN, reason="adapter_failed")

    def _call(self, send: Send) -> Callable[[Send], Awaitable[Outcome]] | None:
        broker = self._brokers.get(send.route)
        if broker is None:
            return None
        calls = {
            "place": broker.place,
            "cancel": broker.cancel,
            "replace": broker.replace,
            "query": broker.query,
        }
        return calls.get(send.action)

    async def _finish(self, results: Sequence[repo.SendResult]) -> None:
        """Record outcomes, through a short absence of the database if need be."""
        backoff = Backoff()
        clock = self._lanes.lease.now
        # Later than this the rows may have been begun anew, as questions.
        give_up_at = clock() + self._limits.valid_s - self._limits.timeout_s
        while True:
            try:
                applied = await self._record(results)
                break
            except Exception as error:
                if clock() >= give_up_at or not is_database_absent(error):
                    raise
                await asyncio.sleep(backoff.next_s())
        if applied < len(results):
            # Lost shards, or an event of the broker that was quicker than this answer.
            log.info("sends_recorded_in_part", sent=len(results), applied=applied)
            self._lanes.check_soon()

    async def _record(self, results: Sequence[repo.SendResult]) -> int:
        # What is left out because somebody else is writing to its account is told again.
        applied, more = 0, 1
        while more and applied < len(results):
            async with self._database.transaction() as connection:
                more = await repo.finish_sends(connection, self._lanes.owner, results)
            applied += more
        return applied


def _result(send: Send, outcome: Outcome) -> repo.SendResult:
    return repo.SendResult(
        event_id=send.event_id,
        epoch=send.epoch,
        attempts=send.attempts,
        outcome=outcome.kind.value,
        reason=outcome.reason,
        broker_order_id=outcome.broker_order_id,
        retry_after_s=outcome.retry_after_s,
    )


def _held_back(reason: str, retry_after_s: float = HELD_BACK_RETRY_S) -> Outcome:
    return Outcome(kind=OutcomeKind.NOT_SENT, reason=reason, retry_after_s=retry_after_s)


def _log_attempt(send: Send, outcome: Outcome, elapsed_s: float) -> None:
    say = log.info if outcome.kind is OutcomeKind.ACCEPTED else log.warning
    say(
        "send_attempted",
        action=send.action,
        outcome=outcome.kind.value,
        reason=outcome.reason,
        event_id=send.event_id,
        order_id=send.order_id,
        client_order_id=send.client_order_id,
        account_id=send.account_id,
        attempts=send.attempts,
        elapsed_ms=round(elapsed_s * 1000, 1),
    )


@dataclass(slots=True)
class _Sick:
    """An event that could not be applied, and when it is tried again."""

    backoff: Backoff
    retry_at: float


class InboxApplier:
    """Applies what brokers reported, what is there at once together, none holding up the others.

    Where one of them fails, nothing of its transaction counts, and each gets one of its own.
    """

    def __init__(
        self,
        database: Database,
        lanes: Lanes,
        metrics: Metrics,
        *,
        ttl_s: float,
        over: asyncio.Event,
        on_applied: Callable[[], None],
    ) -> None:
        self._ttl_s = ttl_s
        self._database = database
        self._lanes = lanes
        self._metrics = metrics
        self._over = over
        self._on_applied = on_applied
        self._sick: dict[int, _Sick] = {}
        self._together_max = APPLIED_TOGETHER_MAX
        # What waits, by who told it, and how much of it is of accounts that somebody writes to.
        self._sources: dict[int, str] = {}
        self._left_out = 0

    async def step(self) -> bool:
        """Apply what waits; says whether anything was applied."""
        if not self._lanes.may_send:
            return False
        self._sources = await self._pending()
        now = self._lanes.lease.now()
        well = [i for i in self._sources if i not in self._sick]
        again = [i for i in self._sources if i in self._sick and self._sick[i].retry_at <= now]
        applied = await self._in_order(well, self._together_max)
        self._left_out = sum(i not in applied and i not in self._sick for i in well)
        applied |= await self._in_order(again, 1)
        self._together_max = APPLIED_TOGETHER_MAX
        if applied:
            self._on_applied()
        return bool(applied)

    async def _pending(self) -> dict[int, str]:
        # The sick and the left out are still pending: reading past them keeps the lane moving.
        limit = min(INBOX_BATCH_MAX + len(self._sick) + self._left_out, INBOX_READ_MAX)
        async with self._database.transaction() as connection:
            return await repo.inbox_pending(connection, self._lanes.owner, limit=limit)

    async def _in_order(self, inbox_ids: Sequence[int], together_max: int) -> dict[int, str]:
        applied, held, rest = dict[int, str](), set[str](), list(inbox_ids)
        while rest:
            together, rest = rest[:together_max], rest[together_max:]
            applied |= await self._apply(together)
            # Nothing of an account goes before what was left out of it.
            left_out = (i for i in together if i not in applied and i not in self._sick)
            held |= {self._sources[i] for i in left_out}
            rest = [i for i in rest if self._sources[i] not in held]
        return applied

    async def _apply(self, inbox_ids: Sequence[int]) -> dict[int, str]:
        if self._over.is_set():
            return {}
        try:
            async with self._database.transaction() as connection:
                outcomes = await repo.apply_broker_events(connection, inbox_ids, ttl_s=self._ttl_s)
        except Exception as error:
            return await self._apart(inbox_ids, error)
        for inbox_id, outcome in outcomes.items():
            self._sick.pop(inbox_id, None)
            self._metrics.inbox.labels(outcome).inc()
            log.info("broker_event_applied", inbox_id=inbox_id, outcome=outcome)
        self._metrics.inbox_quarantined.set(len(self._sick))
        return outcomes

    async def _apart(self, inbox_ids: Sequence[int], error: Exception) -> dict[int, str]:
        absent = is_database_absent(error)
        if absent:
            # Should it have died of one of them, the next time shows of which.
            self._together_max = 1
        if len(inbox_ids) == 1:
            self._set_aside(inbox_ids[0], error)
        if absent:
            raise error
        return await self._in_order(inbox_ids, 1) if len(inbox_ids) > 1 else {}

    def _set_aside(self, inbox_id: int, error: Exception) -> None:
        if inbox_id not in self._sick and len(self._sick) >= QUARANTINE_MAX:
            self._sick.pop(next(iter(self._sick)))
        sick = self._sick.setdefault(
            inbox_id, _Sick(Backoff(QUARANTINE_DELAY_MIN_S, QUARANTINE_DELAY_MAX_S), 0.0)
        )
        sick.retry_at = self._lanes.lease.now() + sick.backoff.next_s()
        self._metrics.inbox.labels("failed").inc()
        self._metrics.inbox_quarantined.set(len(self._sick))
        if not isinstance(error, asyncpg.PostgresError):
            log.warning("broker_event_failed", inbox_id=inbox_id, error=type(error).__name__)
            return
        log.error(
            "broker_event_failed",
            inbox_id=inbox_id,
            error=type(error).__name__,
            sqlstate=error.sqlstate,
            cause=str(error)[:200],
        )
