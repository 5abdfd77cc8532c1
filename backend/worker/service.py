"""The worker as one running thing: session after session, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import asyncpg

from app.core.logging import get_logger
from app.core.settings import Settings
from app.outbox import repo as outbox
from app.services.broker import Broker
from app.services.db import Database
from app.services.poke import INBOX, OUTBOX, Channel
from app.services.qc_executions import ListsExecutions
from app.services.quotes import QuoteSource

from .anchoring import Anchorer
from .breaks import Executions, Questions, Reconciler
from .bridges import Bridges
from .calendar import CalendarKeeper
from .consumer import InboxApplier, Sender, SendLimits
from .faults import log_failure
from .lanes import Connect, Lanes, Lease
from .metrics import Metrics
from .notifier import Notifier
from .quotes import QuoteIntake
from .reconcilers import (
    Acknowledger,
    AuditWatch,
    BridgeWatch,
    EquitySampler,
    Housekeeper,
    IntegrityWatch,
    OutboxWatch,
    RollUp,
    StreamSample,
    keep_of,
)
from .waiting import Backoff, Bell, Loop, repeat, until

log = get_logger(__name__)

SHARDS = 16
OPEN_TIMEOUT_S = 10.0
DRAIN_MARGIN_S = 4.0
BRIDGES_EVERY_S = 1.0
ACKNOWLEDGE_EVERY_S = 1.0
INFLIGHT_EVERY_S = 1.0
OPEN_EVERY_S = 5.0
OUTBOX_EVERY_S = 5.0
NOTIFY_EVERY_S = 1.0
AUDIT_EVERY_S = 60.0
ANCHOR_LOOK_EVERY_S = 10.0
HOUSE_EVERY_S = 60.0
EQUITY_EVERY_S = 10.0
INTEGRITY_EVERY_S = 300.0
ROLLUP_EVERY_S = 600.0
QUOTES_EVERY_S = 1.0
CALENDAR_EVERY_S = 3600.0

# A vanished host must not hold its advisory locks until TCP's own patience of hours is over.
LANE_SESSION = {
    "application_name": "informania-worker-lanes",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}


def direct_connection(settings: Settings) -> Connect:
    """Make the way to a connection of one's own, around any pooler: locks and LISTEN need it."""
    password = settings.secret("app_worker_password")

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(
            host=settings.database_host,
            port=settings.database_port,
            database=settings.database_name,
            user="app_worker",
            password=password,
            timeout=settings.database_connect_timeout_s,
            command_timeout=min(settings.database_command_timeout_s, settings.shard_lease_s / 4),
            server_settings=LANE_SESSION,
        )

    return connect


class Service:
    """Opens lanes, runs the loops over them, and begins again when they are lost.

    Whatever ends a session (Postgres restarts, the connection breaks, a shard is taken away) ends
    only that session: its sends are finished, its shards given back, and a new owner takes them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        brokers: dict[str, Broker],
        bridges: Bridges,
        metrics: Metrics,
        shards_max: int = SHARDS,
        quotes: Sequence[QuoteSource] = (),
        lists: Mapping[str, ListsExecutions] | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._brokers = brokers
        self._bridges = bridges
        self._metrics = metrics
        self._shards_max = shards_max
        self._quotes = quotes
        self._lists = lists or {}
        self._connect = direct_connection(settings)
        self._sample = StreamSample()
        self._sessions = 0
        self._lanes: Lanes | None = None
        self._draining = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop; returns when everything in flight is recorded."""
        backoff = Backoff()
        while not stopping.is_set():
            try:
                await self._session(stopping, on_open=backoff.reset)
            except Exception as error:
                self._metrics.failed("session")
                log_failure("session_failed", error)
            if not stopping.is_set():
                await until(stopping, backoff.next_s())
        log.info("worker_stopped")

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Say whether lanes are open, and if not, what they wait for."""
        lanes = self._lanes
        heard = self._bridges.heard
        silent = [row.source for row in self._bridges.known if row.source not in heard]
        status = self._status(lanes, heard)
        state = {
            "status": status,
            "shards": lanes.shards if lanes else [],
            "bridges_heard": heard,
            "bridges_silent": silent,
        }
        return status in ("open", "standby"), state

    def _status(self, lanes: Lanes | None, heard: list[str]) -> str:
        if self._draining:
            return "draining"
        if lanes is None or lanes.lost.is_set():
            return "no_database"
        if lanes.shards and not lanes.lease.is_fresh:
            return "lease_too_old"
        if not heard:
            return "no_bridge_heard"
        return "open" if lanes.shards else "standby"

    async def _session(self, stopping: asyncio.Event, on_open: Callable[[], None]) -> None:
        bells: dict[str, Bell] = defaultdict(Bell)
        lanes = self._new_lanes({OUTBOX: bells["send"].ring, INBOX: bells["inbox"].ring})
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await lanes.open()
            on_open()
            self._lanes = lanes
            await self._work(lanes, bells, stopping)
        finally:
            self._lanes = None
            await lanes.close()

    def _new_lanes(self, wakes: Mapping[Channel, Callable[[], None]]) -> Lanes:
        self._sessions += 1
        # A name of its own for each session: what an earlier one left behind is not ours to touch.
        owner = f"{socket.gethostname()}:{os.getpid()}:{self._sessions}:{secrets.token_hex(3)}"
        return Lanes(
            self._connect,
            owner=owner,
            lease=Lease(self._settings.shard_lease_s),
            shards_max=self._shards_max,
            wakes=wakes,
            on_change=self._metrics.shards_owned.set,
        )

    async def _work(self, lanes: Lanes, bells: dict[str, Bell], stopping: asyncio.Event) -> None:
        over = asyncio.Event()
        wake_sender = bells["send"].ring
        sender = self._new_sender(lanes, on_recorded=wake_sender)
        bells["record"] = sender.ended
        loops = [asyncio.create_task(work) for work in (lanes.keep(over), sender.record(over))]
        for loop in self._loops(lanes, sender, over, wake_sender=wake_sender):
            repeated = repeat(loop, bell=bells[loop.name], over=over, failed=self._metrics.failed)
            loops.append(asyncio.create_task(repeated))
        enders = [asyncio.create_task(event.wait()) for event in (stopping, lanes.lost)]
        try:
            await asyncio.wait([*loops, *enders], return_when=asyncio.FIRST_COMPLETED)
            self._draining = stopping.is_set()
            over.set()
            for bell in (*bells.values(), lanes.bell):
                bell.ring()
            await asyncio.wait(loops, timeout=self._settings.send_timeout_s + DRAIN_MARGIN_S)
        finally:
            await _end([*loops, *enders])

    def _new_sender(self, lanes: Lanes, *, on_recorded: Callable[[], None]) -> Sender:
        limits = SendLimits(
            timeout_s=self._settings.send_timeout_s,
            valid_s=self._settings.send_valid_s,
            ttl_s=self._settings.order_ttl_s,
        )
        return Sender(
            self._database,
            self._brokers,
            lanes,
            self._bridges,
            self._metrics,
            limits=limits,
            on_account=self._sample.note,
            on_recorded=on_recorded,
        )

    def _loops(
        self,
        lanes: Lanes,
        sender: Sender,
        over: asyncio.Event,
        *,
        wake_sender: Callable[[], None],
    ) -> list[Loop]:
        settings, metrics, database = self._settings, self._metrics, self._database
        inbox = InboxApplier(
            database,
            lanes,
            metrics,
            ttl_s=settings.order_ttl_s,
            over=over,
            on_applied=wake_sender,
        )
        watch = BridgeWatch(database, self._bridges, metrics, on_change=wake_sender)
        acknowledger = Acknowledger(
            self._brokers, lanes, self._bridges, metrics, timeout_s=settings.send_timeout_s
        )
        asks = partial(Questions, database, lanes, metrics, on_owed=wake_sender)
        inflight = asks(owe=partial(outbox.query_inflight, after_s=settings.query_after_s))
        working = asks(owe=partial(outbox.query_open, after_s=settings.open_query_after_s))
        executions = Executions(
            database,
            lanes,
            self._bridges,
            metrics,
            lists=self._lists,
            on_missing=partial(database.notify_poke, INBOX),
        )
        notifier = Notifier(database, lanes, metrics, settings=settings)
        anchorer = Anchorer(database, lanes, metrics, settings=settings)
        poll_s = settings.poll_interval_ms / 1000
        return [
            Loop("send", sender.step, poll_s),
            Loop("inbox", inbox.step, poll_s),
            Loop("bridges", watch.step, BRIDGES_EVERY_S),
            Loop("acknowledge", acknowledger.step, ACKNOWLEDGE_EVERY_S),
            Loop("inflight", inflight.step, INFLIGHT_EVERY_S),
            Loop("outbox", OutboxWatch(database, lanes, metrics).step, OUTBOX_EVERY_S),
            Loop("audit", AuditWatch(database, lanes, metrics, self._sample).step, AUDIT_EVERY_S),
            Loop("anchor", anchorer.step, ANCHOR_LOOK_EVERY_S),
            Loop("house", Housekeeper(database, lanes, keep_of(settings)).step, HOUSE_EVERY_S),
            Loop("calendar", CalendarKeeper(database, lanes).step, CALENDAR_EVERY_S),
            Loop("rollup", RollUp(database, lanes).step, ROLLUP_EVERY_S),
            Loop("equity", EquitySampler(database, lanes).step, EQUITY_EVERY_S),
            Loop("open", working.step, OPEN_EVERY_S),
            Loop("notify", notifier.step, NOTIFY_EVERY_S),
            Loop("executions", executions.step, settings.executions_every_s),
            Loop(
                "reconcile", Reconciler(database, lanes, metrics).step, settings.reconcile_every_s
            ),
            Loop("integrity", IntegrityWatch(database, lanes, metrics).step, INTEGRITY_EVERY_S),
            *(
                Loop(f"quotes-{source.name}", QuoteIntake(database, source).step, QUOTES_EVERY_S)
                for source in self._quotes
            ),
        ]


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            log_failure("loop_failed", outcome)
