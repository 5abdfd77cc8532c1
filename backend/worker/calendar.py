"""Keeps the calendar of the exchange filled from last year to the next, once for all workers."""

from __future__ import annotations

from datetime import UTC, datetime

from app.core.logging import get_logger
from app.outbox import repo as outbox
from app.services import exchange_hours
from app.services.db import Database

from .lanes import Lanes
from .reconcilers import leads

log = get_logger(__name__)

ACTOR = "system:calendar"


class CalendarKeeper:
    """Writes what is missing or has changed since the library knew better."""

    def __init__(self, database: Database, lanes: Lanes) -> None:
        self._database = database
        self._lanes = lanes

    async def step(self) -> bool:
        """Make the calendar what the rules say now."""
        if not leads(self._lanes):
            return False
        calendar = exchange_hours.calendar_around(datetime.now(UTC).date())
        async with self._database.transaction() as connection:
            changed = await outbox.put_calendar(connection, ACTOR, calendar.arguments())
        if changed:
            log.info("calendar_filled", days=changed, until=calendar.last.isoformat())
        return False
