"""The quotes port: prices come in here, whichever source they are from.

A source hands over what it heard; what no mark can be made of never leaves it. One procedure moves
the marks, and `app.sp_quote_stale_after` says how long each source may be silent. `replay` is read
from a venue that replays a market, `quantconnect` comes with the deliveries of a bridge, and `ib`
(services/ibkr_quotes.py) from a TWS.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import asyncpg
import httpx
from pydantic import ValidationError

from app.core.logging import get_logger
from app.models.dto import Quote, moment_text, number_text
from app.services import sp

log = get_logger(__name__)

# What may be watched at a time: a usual login at Interactive Brokers has 100 lines of market data.
SYMBOLS_MAX = 100
REPLAY_TIMEOUT_S = 2.0
SMALLEST = Decimal("1E-8")


class Source(StrEnum):
    """Where a price comes from, as `market.last_prices` names it."""

    REPLAY = "replay"
    QUANTCONNECT = "quantconnect"
    IB = "ib"


class QuoteSource(Protocol):
    """Somewhere prices come from."""

    name: Source

    def want(self, symbols: Sequence[str]) -> None:
        """Say which prices matter; a source that sends what it likes need not listen."""
        ...

    async def take(self) -> list[Quote]:
        """Hand over what was heard since the last call; raises only when nothing can be heard."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@runtime_checkable
class HearsQuotes(Protocol):
    """An adapter whose route has prices of its own."""

    quotes: QuoteSource


class BridgeQuotes:
    """The prices in a delivery of a bridge; an odd one must not hold up the fills beside it."""

    name = Source.QUANTCONNECT

    def __init__(self, delivered: Iterable[dict[str, Any]]) -> None:
        self._delivered = list(delivered)

    def want(self, symbols: Sequence[str]) -> None:
        """Change nothing: the bridge was told when it was deployed."""

    async def take(self) -> list[Quote]:
        """Return the prices that can be recorded."""
        delivered, self._delivered = self._delivered, []
        return usable(delivered)

    async def close(self) -> None:
        """Do nothing: a delivery holds nothing."""


class ReplayQuotes:
    """The prices of a venue that replays a market, read from its face for programs."""

    name = Source.REPLAY
    FIELDS = ("symbol", "price", "at", "reset")

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, timeout=REPLAY_TIMEOUT_S, transport=transport, trust_env=False
        )

    def want(self, symbols: Sequence[str]) -> None:
        """Change nothing: the venue shows all it replays."""

    async def take(self) -> list[Quote]:
        """Return what the venue shows now; raises httpx.HTTPError when it does not answer."""
        answer = await self._client.get("/paper/v1/quotes")
        answer.raise_for_status()
        try:
            shown = answer.json()
        except ValueError as error:
            raise httpx.DecodingError("the replay does not answer in JSON") from error
        rows = [row for row in shown if isinstance(row, dict)] if isinstance(shown, list) else []
        return usable({name: row.get(name) for name in self.FIELDS} for row in rows)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


def usable(candidates: Iterable[dict[str, Any]]) -> list[Quote]:
    """Return what a mark can be made of; the rest is counted in the log."""
    quotes, left_out = [], 0
    for candidate in candidates:
        try:
            quotes.append(Quote.model_validate(candidate))
        except ValidationError:
            left_out += 1
    if left_out:
        log.warning("quotes_left_out", count=left_out)
    return quotes


def quote_of(symbol: str, price: Decimal, at: datetime) -> Quote:
    """Make a quote of a figure that was checked, to the 8 decimals that are kept."""
    text = number_text(price.quantize(SMALLEST))
    return Quote(symbol=symbol, price=text, at=moment_text(at))


async def record(
    connection: asyncpg.Connection, source: Source, quotes: Sequence[Quote]
) -> list[dict[str, Any]]:
    """Move the marks; returns the quotes as the hot store takes them."""
    rows = [quote.model_dump(exclude_none=True) for quote in quotes]
    if rows:
        await sp.record_quotes(connection, source, rows)
    return rows
