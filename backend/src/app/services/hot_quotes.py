"""The last price of every instrument in the hot store; side effect: LMDB.

The hot store can be rebuilt at any time, so a failure here is logged and never fails the write
that brought the price: Postgres has it already.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from app.core.errors import AppError
from app.core.logging import get_logger
from app.models.dto import moment_text, number_text
from app.services import sp
from app.services.db import Database
from app.services.lmdb_actor import LmdbActor

log = get_logger(__name__)

TABLE = "quotes"
RETRY_S = 1.0


class HotQuotes:
    """Publishes the prices that come to this process, and follows those that come elsewhere.

    A bridge speaks to the API, the other sources to the worker, and the process that serves the
    store may be a third one. So the marks are read from Postgres every second.
    """

    def __init__(self, actor: LmdbActor | None, database: Database) -> None:
        self.actor = actor
        self._database = database
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow in the background, so that a process starts without Postgres."""
        if self.actor is not None:
            self._task = asyncio.create_task(self._follow(), name="hot-quotes-follow")

    async def stop(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def publish(self, source: str, quotes: Sequence[dict[str, Any]]) -> None:
        """Put prices that were just committed; like the marks, none gives way to an older one."""
        now = datetime.now(UTC)
        entries = []
        for quote in quotes:
            at = min(datetime.fromisoformat(quote["at"]), now)
            if quote.get("reset") or not self._has_newer(quote["symbol"], at):
                entries.append(_entry(quote["symbol"], quote["price"], source, at, now))
        await self._put_all(entries)

    def _has_newer(self, symbol: str, at: datetime) -> bool:
        entry = self.actor.get(TABLE, symbol) if self.actor else None
        return entry is not None and datetime.fromisoformat(json.loads(entry.value)["at"]) > at

    async def refill(self) -> int:
        """Put every mark of Postgres that was received after what is there; returns how many."""
        async with self._database.transaction() as connection:
            prices = await sp.last_prices(connection)
        newer = [
            _entry(
                price.symbol,
                number_text(price.price),
                price.source,
                price.source_at,
                price.received_at,
            )
            for price in prices
            if self._received_at(price.symbol) < price.received_at
        ]
        await self._put_all(newer)
        return len(newer)

    def _received_at(self, symbol: str) -> datetime:
        entry = self.actor.get(TABLE, symbol) if self.actor else None
        if entry is None:
            return datetime.min.replace(tzinfo=UTC)
        return datetime.fromisoformat(json.loads(entry.value)["received_at"])

    async def _follow(self) -> None:
        followed = False
        while True:
            try:
                count = await self.refill()
                if not followed:
                    log.info("hot_quotes_refilled", count=count)
                followed = True
            except AppError as error:
                log.warning("hot_quotes_refill_failed", code=error.code)
            except Exception:
                log.exception("hot_quotes_refill_failed")
            await asyncio.sleep(RETRY_S)

    async def _put_all(self, entries: Sequence[tuple[str, bytes]]) -> None:
        if self.actor is None or not entries:
            return
        actor = self.actor
        results = await asyncio.gather(
            *(actor.put(TABLE, symbol, value) for symbol, value in entries),
            return_exceptions=True,
        )
        failed = [result for result in results if isinstance(result, Exception)]
        if failed:
            log.warning("hot_quotes_not_put", count=len(failed), reason=str(failed[0]))


def _entry(
    symbol: str, price: str, source: str, at: datetime, received_at: datetime
) -> tuple[str, bytes]:
    value = {
        "price": price,
        "source": source,
        "at": moment_text(at),
        "received_at": moment_text(received_at),
    }
    return symbol, json.dumps(value, separators=(",", ":")).encode()
