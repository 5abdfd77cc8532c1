"""The one chart that LEAN keeps of every algorithm: what its account is worth, as candles."""

from collections import deque
from decimal import Decimal

from paper.cloud import Refused
from paper.orders import Account
from paper.qc_json import Json, integer, text

STRATEGY_EQUITY = "Strategy Equity"
CANDLE_S = 60
# LEAN's quota of points for a series; older ones go.
CANDLES_MAX = 4_000
SERIES_CANDLE = 2


def worth(account: Account, prices: dict[str, Decimal]) -> Decimal:
    """Cash and all positions at the last prices, in the account's currency."""
    held = {symbol: it.quantity for symbol, it in account.positions.items() if it.quantity}
    return sum((prices[symbol] * held[symbol] for symbol in held), account.cash)


class EquityChart:
    """Candles of a minute, in memory only: a restart of the venue begins anew."""

    def __init__(self) -> None:
        # Begin of the minute in Unix seconds, open, high, low, close.
        self._candles: deque[tuple[int, float, float, float, float]] = deque(maxlen=CANDLES_MAX)

    def sample(self, second: int, value: float) -> None:
        """Take in what the account was worth at a second (Unix time), the newest last."""
        begin = second - second % CANDLE_S
        if not self._candles or self._candles[-1][0] < begin:
            self._candles.append((begin, value, value, value, value))
            return
        begun, first, high, low, _ = self._candles[-1]
        self._candles[-1] = (begun, first, max(high, value), min(low, value), value)

    def read(self, fields: Json) -> Json:
        """LEAN's chart of the candles from `start` to `end` (Unix seconds), `count` at most.

        Of more than `count` every second, third and so on is told, the newest always.
        Raises Refused for another chart, and for a count that is not positive.
        """
        name, count = text(fields, "name", STRATEGY_EQUITY), integer(fields, "count", CANDLES_MAX)
        start, end = integer(fields, "start", 0), integer(fields, "end", 2**62)
        if name != STRATEGY_EQUITY:
            raise Refused(f"Chart not found; there is {STRATEGY_EQUITY}")
        if count < 1:
            raise Refused("count must be positive")
        found = [it for it in tuple(self._candles) if start <= it[0] <= end]
        step = -(-len(found) // count) or 1
        told = found[::-step][::-1]
        series = {"name": "Equity", "unit": "$", "index": 0, "seriesType": SERIES_CANDLE}
        series["values"] = [list(it) for it in told]
        return {"chart": {"name": name, "chartType": 0, "series": {"Equity": series}}}
