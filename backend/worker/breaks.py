"""The loops that hold our books against the brokers': orders, executions, positions and cash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import asyncpg

from app.core.logging import get_logger
from app.outbox import repo as outbox
from app.services.db import Database
from app.services.qc_executions import PAGE_ORDERS, ListsExecutions

from .bridges import Bridges, account_of
from .lanes import Lanes
from .metrics import Metrics
from .reconcilers import leads

log = get_logger(__name__)


Owe = Callable[[asyncpg.Connection, str], Awaitable[int]]
# Orders before the end of a list that are read again each time: what works may still trade.
TAIL_ORDERS = 200


class Questions:
    """Owes questions about orders of the owned shards of which nothing was heard: `owe` finds them.

    A lost report must not stay lost, and an answer that does not come is asked for.
    """

    def __init__(
        self,
        database: Database,
        lanes: Lanes,
        metrics: Metrics,
        *,
        owe: Owe,
        on_owed: Callable[[], None],
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._metrics = metrics
        self._owe = owe
        self._on_owed = on_owed

    async def step(self) -> bool:
        """Owe what is due."""
        if not self._lanes.may_send:
            return False
        async with self._database.transaction() as connection:
            owed = await self._owe(connection, self._lanes.owner)
        if owed:
            log.info("queries_owed", count=owed)
            self._metrics.queries.inc(owed)
            self._on_owed()
        return False


class Executions:
    """Holds the venues' own lists of executions against ours, once for all workers.

    All of a list when its far end is heard anew, its end otherwise. What is missing goes the way of
    any report. TWS needs no such loop: its adapter asks for executions on each beat.
    """

    def __init__(
        self,
        database: Database,
        lanes: Lanes,
        bridges: Bridges,
        metrics: Metrics,
        *,
        lists: Mapping[str, ListsExecutions],
        on_missing: Callable[[], None],
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._bridges = bridges
        self._metrics = metrics
        self._lists = lists
        self._on_missing = on_missing
        # Where to begin in each list, by source and epoch.
        self._places: dict[tuple[str, int | None], int] = {}

    async def step(self) -> bool:
        """Compare with all venues that are heard."""
        heard = [] if not leads(self._lanes) else self._bridges.heard
        sources = {(source, self._bridges.epoch_of(source)) for source in heard}
        self._places = {known: self._places[known] for known in self._places.keys() & sources}
        for source, epoch in sorted(sources, key=str):
            length = await self._compare(source, self._places.get((source, epoch), 0))
            if length is not None:
                self._places[source, epoch] = max(0, length - TAIL_ORDERS)
        return False

    async def _compare(self, source: str, place: int) -> int | None:
        """Read a list from a place to its end; its length, or None where it was not read."""
        route, broker_account = account_of(source) or ("", "")
        listing = self._lists.get(route)
        length, missing = place + 1, 0
        while listing is not None and place < length:
            page = await listing.page(broker_account, place)
            if page is None:
                return None
            async with self._database.transaction() as connection:
                missing += await outbox.executions_listed(connection, source, page.fills)
            length, place = page.length, place + PAGE_ORDERS
        if missing:
            log.warning("executions_missing", source=source, count=missing)
            self._metrics.executions_missing.inc(missing)
            self._on_missing()
        return length if listing is not None else None


class Reconciler:
    """Compares positions and cash with the brokers' reports, once for all workers.

    It never trades: what lasts is recorded, and its account may only reduce until somebody has
    looked.
    """

    def __init__(self, database: Database, lanes: Lanes, metrics: Metrics) -> None:
        self._database = database
        self._lanes = lanes
        self._metrics = metrics

    async def step(self) -> bool:
        """Compare, and tell of what came and went."""
        if not leads(self._lanes):
            return False
        async with self._database.transaction() as connection:
            changed = await outbox.reconcile(connection)
        for one in changed:
            self._metrics.recon_breaks.labels(one["state"]).inc()
            say = log.error if one["state"] == "open" else log.info
            names = ("break_id", "account_id", "figure", "subject", "ours", "theirs", "state")
            say("recon_break", **{name: one[name] for name in names})
        return False
