"""The quotes port over Interactive Brokers: what a TWS says of prices, if it may be believed.

The mark is the middle of bid and ask while they make sense, else the last trade. Nothing is kept
from one connection to the next, and delayed or frozen prices are never taken for live ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from app.core.logging import get_logger
from app.models.dto import Quote
from app.services.ibkr_wire import TwsSession, WireError
from app.services.quotes import SYMBOLS_MAX, Source, quote_of

log = get_logger(__name__)

BID, ASK, LAST = 1, 2, 4
LIVE = 1
# To the 8 decimals that are kept, less is nothing.
PRICE_MIN, PRICE_MAX = 1e-8, 1e12
# Beyond it nobody means the middle: one side only keeps the other company.
SPREAD_MAX = Decimal("0.05")
# Requests share the pace of orders; a hundred instruments are asked for within ten seconds.
ASKED_A_CALL_MAX = 10


@dataclass(slots=True)
class _Watched:
    """What this connection has heard of one instrument."""

    symbol: str
    request_id: int
    is_live: bool = True
    bid: Decimal | None = None
    ask: Decimal | None = None
    heard: Quote | None = None

    def middle(self) -> Decimal | None:
        """Return the middle of bid and ask, if both are there, in order and close."""
        if self.bid is None or self.ask is None:
            return None
        middle = (self.bid + self.ask) / 2
        spread = self.ask - self.bid
        return middle if 0 <= spread <= SPREAD_MAX * middle else None


class IbQuotes:
    """Watches instruments over whichever connection there is."""

    name = Source.IB

    def __init__(self) -> None:
        self._wanted: list[str] = []
        self._session: TwsSession | None = None
        self._by_symbol: dict[str, _Watched] = {}
        self._by_request: dict[int, _Watched] = {}

    def want(self, symbols: Sequence[str]) -> None:
        """Watch these and no others, at most as many as a login may."""
        self._wanted = list(dict.fromkeys(symbols))[:SYMBOLS_MAX]

    async def take(self) -> list[Quote]:
        """Return the newest price of each instrument that moved, and ask for what is missing."""
        self._ask()
        taken = [it.heard for it in self._by_symbol.values() if it.heard is not None]
        for watched in self._by_symbol.values():
            watched.heard = None
        return taken

    async def close(self) -> None:
        """Do nothing: the connection is the adapter's."""

    def attach(self, session: TwsSession) -> None:
        """Use a connection from now on; everything is asked for anew."""
        self.detach()
        self._session = session

    def detach(self) -> None:
        """Forget what a connection said."""
        self._session = None
        self.forget()

    def forget(self) -> None:
        """Ask for everything again: the broker has lost what was asked for."""
        self._by_symbol.clear()
        self._by_request.clear()

    def on_price(self, request_id: int, kind: int, price: float) -> None:
        """Take in one price; what makes none takes away the side that it speaks of."""
        watched = self._by_request.get(request_id)
        if watched is None or kind not in (BID, ASK, LAST):
            return
        good = math.isfinite(price) and PRICE_MIN <= price < PRICE_MAX
        figure = Decimal(repr(price)) if good else None
        if kind == BID:
            watched.bid = figure
        elif kind == ASK:
            watched.ask = figure
        mark = watched.middle() or (figure if kind == LAST else None)
        if watched.is_live and mark is not None:
            watched.heard = quote_of(watched.symbol, mark, datetime.now(UTC))

    def on_data_type(self, request_id: int, kind: int) -> None:
        """Hear whether the prices that follow are live."""
        watched = self._by_request.get(request_id)
        if watched is not None and watched.is_live != (kind == LIVE):
            watched.is_live = kind == LIVE
            watched.bid = watched.ask = watched.heard = None
            log.warning("tws_prices_live", symbol=watched.symbol, live=watched.is_live)

    def on_refusal(self, request_id: int, code: int, text: str) -> bool:
        """Take in why there are no prices; says whether the message was about them."""
        watched = self._by_request.get(request_id)
        if watched is not None:
            log.warning("tws_no_prices", symbol=watched.symbol, code=code, text=text)
        return watched is not None

    def _ask(self) -> None:
        session, wanted = self._session, set(self._wanted)
        if session is None or session.closed.is_set() or session.is_paced:
            return
        try:
            for symbol in [it for it in self._by_symbol if it not in wanted]:
                watched = self._by_symbol.pop(symbol)
                del self._by_request[watched.request_id]
                session.unwatch(watched.request_id)
            missing = [symbol for symbol in self._wanted if symbol not in self._by_symbol]
            for symbol in missing[:ASKED_A_CALL_MAX]:
                watched = _Watched(symbol, session.watch(symbol))
                self._by_symbol[symbol] = self._by_request[watched.request_id] = watched
        except WireError as error:
            log.warning("tws_prices_not_asked", error=str(error))
