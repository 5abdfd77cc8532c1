"""The slow loops: they find what got stuck between two parties, and set it moving or tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from app.audits import repo as audits
from app.core.logging import get_logger
from app.core.settings import Settings
from app.outbox import repo as outbox
from app.services.broker import Broker, Outcome, OutcomeKind
from app.services.db import Database

from .bridges import Bridges, account_of
from .faults import log_failure
from .lanes import Lanes
from .metrics import Metrics

log = get_logger(__name__)

ACKNOWLEDGE_AGAIN_S = 30.0
ACKNOWLEDGE_RETRY_S = 2.0
OUTBOX_AGE_WARN_S = 30.0
STREAMS_MAX = 256
INTEGRITY_ACTOR = "system:integrity"
BREAKS_LOGGED_MAX = 20
HOUSEKEEP_FIRST_S = 60.0
HOUSEKEEP_EVERY_S = 86_400.0
EVENTS_KEEP = timedelta(days=90)
# Longer than any refresh token lives, or a revoked session would come back to life.
SESSIONS_KEEP = timedelta(days=400)
# Bars of minutes may come late; what is older is rolled up by hand.
ROLLUP_SPAN = timedelta(days=7)


class BridgeWatch:
    """Keeps the gate of the lanes up to date."""

    def __init__(
        self,
        database: Database,
        bridges: Bridges,
        metrics: Metrics,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._database = database
        self._bridges = bridges
        self._metrics = metrics
        self._on_change = on_change

    async def step(self) -> bool:
        """Read which far ends are heard."""
        async with self._database.transaction() as connection:
            changed = self._bridges.update(await outbox.bridges(connection))
        self._metrics.bridges_known.set(len(self._bridges.known))
        self._metrics.bridges_heard.set(len(self._bridges.heard))
        if changed:
            self._on_change()
        return False


@dataclass(frozen=True, slots=True)
class _Told:
    """What a bridge was told last, and from when on it may be told again."""

    epoch: int
    sequence: int
    again_at: float
    accepted: bool


class Acknowledger:
    """Tells bridges how far their events are stored, so that they stop repeating them.

    An acknowledgement can be lost like everything else, therefore it is repeated slowly.
    Only the owner of shard 0 does it: saying it twice is harmless, but not free.
    """

    def __init__(
        self,
        brokers: dict[str, Broker],
        lanes: Lanes,
        bridges: Bridges,
        metrics: Metrics,
        *,
        timeout_s: float,
    ) -> None:
        self._brokers = brokers
        self._lanes = lanes
        self._bridges = bridges
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._told: dict[str, _Told] = {}

    async def step(self) -> bool:
        """Acknowledge to every bridge that has not heard it yet."""
        if leads(self._lanes):
            due = [bridge for bridge in self._bridges.known if self._is_due(bridge)]
            await asyncio.gather(*(self._acknowledge(bridge) for bridge in due))
        return False

    def _is_due(self, bridge: outbox.Bridge) -> bool:
        if bridge.sequence <= 0 or self._bridges.epoch_of(bridge.source) is None:
            return False
        told = self._told.get(bridge.source)
        if told is None:
            return True
        grown = (told.epoch, told.sequence) != (bridge.epoch, bridge.sequence)
        return (told.accepted and grown) or self._lanes.lease.now() >= told.again_at

    async def _acknowledge(self, bridge: outbox.Bridge) -> None:
        account = account_of(bridge.source)
        broker = self._brokers.get(account[0]) if account else None
        if account is None or broker is None:
            return
        outcome = await self._tell(broker, account[1], bridge.sequence)
        accepted = outcome.kind is OutcomeKind.ACCEPTED
        pause_s = ACKNOWLEDGE_AGAIN_S if accepted else outcome.retry_after_s or ACKNOWLEDGE_RETRY_S
        again_at = self._lanes.lease.now() + pause_s
        self._told[bridge.source] = _Told(bridge.epoch, bridge.sequence, again_at, accepted)
        self._metrics.acknowledgements.labels(outcome.kind.value).inc()
        log.debug(
            "bridge_acknowledged",
            source=bridge.source,
            sequence=bridge.sequence,
            outcome=outcome.kind.value,
            reason=outcome.reason,
        )

    async def _tell(self, broker: Broker, broker_account: str, sequence: int) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await broker.acknowledge(broker_account, sequence)
        except TimeoutError:
            return Outcome(kind=OutcomeKind.UNKNOWN, reason="send_timeout")
        except Exception as error:
            log_failure("adapter_failed", error, broker_account=broker_account)
            return Outcome(kind=OutcomeKind.UNKNOWN, reason="adapter_failed")


class OutboxWatch:
    """Measures the outbox, once for all workers, and warns when it grows old."""

    def __init__(self, database: Database, lanes: Lanes, metrics: Metrics) -> None:
        self._database = database
        self._lanes = lanes
        self._metrics = metrics
        self._lost = 0

    async def step(self) -> bool:
        """Measure what is owed; a worker that does not lead reports nothing."""
        age = await self._measure() if leads(self._lanes) else outbox.OutboxAge(0, 0.0, 0, 0, 0)
        self._metrics.outbox_pending.set(age.pending)
        self._metrics.outbox_oldest_s.set(age.oldest_s)
        self._metrics.outbox_parked.set(age.parked)
        self._metrics.outbox_dead.set(age.dead)
        self._metrics.orders_lost.set(age.lost)
        if age.lost > self._lost:
            # The alert that somebody must answer: exposure that nobody knows.
            log.error("orders_lost", lost=age.lost)
        self._lost = age.lost
        if age.oldest_s > OUTBOX_AGE_WARN_S or age.dead:
            log.warning(
                "outbox_behind",
                pending=age.pending,
                oldest_s=round(age.oldest_s, 1),
                parked=age.parked,
                dead=age.dead,
            )
        return False

    async def _measure(self) -> outbox.OutboxAge:
        async with self._database.transaction() as connection:
            return await outbox.outbox_age(connection)


class StreamSample:
    """The streams whose audit chains are checked in turn: the system's, and those in use."""

    def __init__(self, streams_max: int = STREAMS_MAX) -> None:
        self._streams_max = streams_max
        self._streams: dict[int, None] = {0: None}

    def note(self, stream_id: int) -> None:
        """Remember a stream that is in use; beyond the limit, chance decides which are kept."""
        if len(self._streams) < self._streams_max:
            self._streams.setdefault(stream_id)

    def take(self) -> int:
        """Name the stream that was checked longest ago, and put it last."""
        stream_id = next(iter(self._streams))
        del self._streams[stream_id]
        self._streams[stream_id] = None
        return stream_id


class AuditWatch:
    """Verifies one audit chain at a time, once for all workers."""

    def __init__(
        self, database: Database, lanes: Lanes, metrics: Metrics, sample: StreamSample
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._metrics = metrics
        self._sample = sample
        self._broken: set[int] = set()

    async def step(self) -> bool:
        """Verify the next chain of the sample and tell if it is broken."""
        if not leads(self._lanes):
            return False
        async with self._database.transaction() as connection:
            report = await audits.verify(connection, self._sample.take())
        if report.is_whole:
            self._broken.discard(report.stream_id)
        else:
            self._broken.add(report.stream_id)
            log.error(
                "audit_chain_broken",
                stream_id=report.stream_id,
                broken_seq=report.broken_seq,
                why=report.why,
            )
        self._metrics.audit_broken.set(len(self._broken))
        return False


class IntegrityWatch:
    """Proves the figures of all accounts from their executions, once for all workers."""

    def __init__(self, database: Database, lanes: Lanes, metrics: Metrics) -> None:
        self._database = database
        self._lanes = lanes
        self._metrics = metrics
        self._after: int | None = None
        self._found = 0

    async def step(self) -> bool:
        """Check the next accounts; asks to go on until all of a round have been."""
        if not leads(self._lanes):
            self._after, self._found = None, 0
            self._metrics.integrity_breaks.set(0)
            return False
        async with self._database.transaction() as connection:
            self._after, breaks = await audits.check_integrity(
                connection, INTEGRITY_ACTOR, after=self._after
            )
        self._found += len(breaks)
        for one in breaks[:BREAKS_LOGGED_MAX]:
            log.error("integrity_break", **one)
        if self._after is not None:
            return True
        self._metrics.integrity_breaks.set(self._found)
        self._found = 0
        return False


class Housekeeper:
    """Makes the coming partitions and drops the old ones once a day, once for all workers."""

    def __init__(self, database: Database, lanes: Lanes, keep: outbox.Keep) -> None:
        self._database = database
        self._lanes = lanes
        self._keep = keep
        self._due_at = lanes.lease.now() + HOUSEKEEP_FIRST_S

    async def step(self) -> bool:
        """Keep house when a day has passed, or soon after the start."""
        now = self._lanes.lease.now()
        if now < self._due_at or not leads(self._lanes):
            return False
        async with self._database.transaction() as connection:
            dropped = await outbox.housekeep(connection, self._keep)
        self._due_at = now + HOUSEKEEP_EVERY_S
        log.info("house_kept", partitions_dropped=dropped)
        return False


def keep_of(settings: Settings) -> outbox.Keep:
    """Return how long this installation keeps what grows."""
    equity, bars = (
        timedelta(days=days) if days else None
        for days in (settings.equity_keep_days, settings.bars_keep_days)
    )
    quotes = timedelta(days=settings.quotes_keep_days)
    return outbox.Keep(quotes, EVENTS_KEEP, SESSIONS_KEEP, equity, bars)


class RollUp:
    """Makes bars of hours and days from those of minutes, once for all workers."""

    def __init__(self, database: Database, lanes: Lanes) -> None:
        self._database = database
        self._lanes = lanes

    async def step(self) -> bool:
        """Roll up the last days again, which changes only what is new or was corrected."""
        if leads(self._lanes):
            async with self._database.transaction() as connection:
                written = await outbox.roll_up(connection, ROLLUP_SPAN)
            if written:
                log.info("bars_rolled_up", bars=written)
        return False


class EquitySampler:
    """Keeps what the accounts are worth, once for all workers: the points of the equity curve."""

    def __init__(self, database: Database, lanes: Lanes) -> None:
        self._database = database
        self._lanes = lanes

    async def step(self) -> bool:
        """Take one sample of every account."""
        if leads(self._lanes):
            async with self._database.transaction() as connection:
                await outbox.sample_equity(connection)
        return False


def leads(lanes: Lanes) -> bool:
    """Say whether this worker does what only one should do: it owns the first shard."""
    return lanes.may_send and 0 in lanes.shards
