"""Brings the prices of a source into the database, for as long as a session of the worker lasts."""

from __future__ import annotations

from app.outbox import repo as outbox
from app.services import quotes
from app.services.db import Database

from .lanes import Clock, steady_clock

WANTED_EVERY_S = 30.0


class QuoteIntake:
    """Takes what a source heard, and tells it from time to time what matters."""

    def __init__(
        self, database: Database, source: quotes.QuoteSource, *, clock: Clock = steady_clock
    ) -> None:
        self._database = database
        self._source = source
        self._clock = clock
        self._wanted_at = clock()

    async def step(self) -> bool:
        """Record the prices that moved."""
        if self._clock() >= self._wanted_at:
            async with self._database.transaction() as connection:
                wanted = await outbox.quotes_wanted(
                    connection, self._source.name, limit=quotes.SYMBOLS_MAX
                )
            self._source.want(wanted)
            self._wanted_at = self._clock() + WANTED_EVERY_S
        heard = await self._source.take()
        if heard:
            async with self._database.transaction() as connection:
                await quotes.record(connection, self._source.name, heard)
        return False
