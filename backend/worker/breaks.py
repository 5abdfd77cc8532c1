"""The loops that hold our books against the brokers': working orders, positions and cash."""

from __future__ import annotations

from collections.abc import Callable

from app.core.logging import get_logger
from app.outbox import repo as outbox
from app.services.db import Database

from .lanes import Lanes
from .metrics import Metrics
from .reconcilers import leads

log = get_logger(__name__)


class OpenOrders:
    """Asks now and then about orders that work at a venue: a lost report must not stay lost."""

    def __init__(
        self,
        database: Database,
        lanes: Lanes,
        metrics: Metrics,
        *,
        after_s: float,
        on_owed: Callable[[], None],
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._metrics = metrics
        self._after_s = after_s
        self._on_owed = on_owed

    async def step(self) -> bool:
        """Owe questions about the longest silent orders of the owned shards."""
        if not self._lanes.may_send:
            return False
        async with self._database.transaction() as connection:
            owed = await outbox.query_open(connection, self._lanes.owner, after_s=self._after_s)
        if owed:
            log.info("open_orders_asked_about", count=owed)
            self._metrics.queries.inc(owed)
            self._on_owed()
        return False


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
