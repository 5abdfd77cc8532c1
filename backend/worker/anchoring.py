"""Anchors the audit chains outside the database: hourly, once for all workers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.audits import anchoring, repo
from app.audits.anchors import Anchor, signing_key
from app.audits.sinks import Sink, open_sink
from app.core.logging import get_logger
from app.core.settings import Settings
from app.services.db import Database

from .lanes import Lanes
from .metrics import Metrics
from .reconcilers import leads

log = get_logger(__name__)

ACTOR = "system:anchor"


class Anchorer:
    """Makes an anchor when the newest one is old enough, and carries out what is not outside yet.

    Who owns shard 0 does it, which an advisory lock decides; should two think so for a moment, the
    database takes one of their anchors. A sink that is away is tried again at the next step.
    """

    def __init__(
        self, database: Database, lanes: Lanes, metrics: Metrics, *, settings: Settings
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._metrics = metrics
        self._every = timedelta(seconds=settings.anchor_every_s)
        self._sink: Sink | None = None
        if settings.anchor_sink:
            self._sink = open_sink(settings.anchor_sink)
            self._key = signing_key(settings.secret("anchor_key"))
        # All anchors up to this one are known to be outside.
        self._outside = 0

    async def step(self) -> bool:
        """Anchor if it is time, and look that the newest anchor is outside."""
        if self._sink is None or not leads(self._lanes):
            return False
        newest = await self._newest()
        if newest.number > self._outside:
            async with self._database.single_statement() as connection:
                self._outside = await anchoring.carry_out(
                    connection, self._sink, after=self._outside
                )
            log.info("audit_anchored", number=newest.number, streams=len(newest.heads))
        self._metrics.anchor_number.set(self._outside)
        self._metrics.anchored_at_s.set(newest.anchored_at.timestamp())
        return False

    async def _newest(self) -> Anchor:
        async with self._database.transaction() as connection:
            newest = await repo.newest_anchor(connection)
            # How old it is may be judged roughly: by this machine's clock.
            if newest is None or newest.anchored_at + self._every <= datetime.now(UTC):
                newest = await anchoring.anchor_now(connection, self._key, actor=ACTOR)
        return newest
