"""What nautilus_trader's matching engine makes of the same prices and commands.

Each order has an instrument of its own in one run of its backtest engine: there a fill moves the
market for the orders behind it, and hides them, until the next price. A price is a quote with no
spread and more size than anybody asks for, so that what is compared is the matching alone.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from importlib.metadata import version
from itertools import count
from typing import Any

from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model import currencies, data, enums, identifiers, instruments, objects
from nautilus_trader.trading.strategy import Strategy

Json = dict[str, Any]
SECOND = 1_000_000_000
# A moment of zero ends its process; so the first tick is a day later.
ORIGIN = 86_400 * SECOND
VENUE = "SIM"
SIZE = objects.Quantity.from_int(1_000_000_000)
BUY, SELL = enums.OrderSide.BUY, enums.OrderSide.SELL


class Player(Strategy):  # type: ignore[misc]
    """Gives the commands of every order after the tick that they name."""

    def __init__(self, orders: list[list[Json]]) -> None:
        super().__init__(StrategyConfig(manage_gtd_expiry=False))
        self.told: list[Json] = [{} for _ in orders]
        self._orders: dict[int, Any] = {}
        self._numbers: dict[Any, int] = {}
        self._at = [{it["tick"]: it for it in commands} for commands in orders]

    def on_start(self) -> None:
        """Listen to all."""
        for number in range(len(self.told)):
            self.subscribe_quote_ticks(instrument_id(number))

    def on_quote_tick(self, tick: Any) -> None:
        """Give the command of this moment."""
        number = int(tick.instrument_id.symbol.value[1:])
        command = self._at[number].get((tick.ts_event - ORIGIN) // SECOND)
        if command is not None:
            getattr(self, f"_{command['act']}")(number, command)

    def _place(self, number: int, command: Json) -> None:
        ends = command["expires_before"]
        common = {
            "instrument_id": instrument_id(number),
            "order_side": BUY if command["side"] == "buy" else SELL,
            "quantity": objects.Quantity.from_int(command["quantity"]),
        }
        until = {} if ends is None or command["order_type"] == "market" else {
            "time_in_force": enums.TimeInForce.GTD,
            "expire_time": moment(ORIGIN + ends * SECOND - SECOND // 2),
        }  # fmt: skip
        limit = {"price": price(command["limit_price"])} if command["limit_price"] else {}
        stop = {"trigger_price": price(command["stop_price"])} if command["stop_price"] else {}
        make = {
            "market": self.order_factory.market,
            "limit": self.order_factory.limit,
            "stop": self.order_factory.stop_market,
            "stop_limit": self.order_factory.stop_limit,
        }[command["order_type"]]
        order = make(**common, **limit, **stop, **until)
        self._orders[number] = order
        self._numbers[order.client_order_id] = number
        self.told[number] = {
            "placed": command["tick"], "triggered": None, "filled": None, "ended": None,
            "quantity": None, "price": None,
        }  # fmt: skip
        self.submit_order(order)

    def _replace(self, number: int, command: Json) -> None:
        order = self._orders[number]
        if order.is_closed:
            return
        quantity = command["quantity"]
        self.modify_order(
            order,
            quantity=None if quantity is None else objects.Quantity.from_int(quantity),
            price=price(command["limit_price"]) if command["limit_price"] else None,
            trigger_price=price(command["stop_price"]) if command["stop_price"] else None,
        )

    def _cancel(self, number: int, command: Json) -> None:
        order = self._orders[number]
        if not order.is_closed:
            self.cancel_order(order)

    def on_event(self, event: Any) -> None:
        """Note what happened, by the tick in which it did."""
        number = self._numbers.get(getattr(event, "client_order_id", None))
        if number is None:
            return
        course, tick = self.told[number], (event.ts_event - ORIGIN) // SECOND
        kind = type(event).__name__
        if kind == "OrderTriggered":
            course["triggered"] = tick
        elif kind == "OrderFilled":
            course["filled"] = tick
            before = Decimal(course["quantity"] or 0)
            course["quantity"] = str(before + event.last_qty.as_decimal())
            course["price"] = str(event.last_px)
        elif kind in ("OrderCanceled", "OrderExpired", "OrderRejected", "OrderDenied"):
            course["ended"] = tick


def moment(nanoseconds: int) -> Any:
    """A moment as its factory wants it."""
    import pandas as pd  # noqa: PLC0415

    return pd.Timestamp(nanoseconds, unit="ns", tz="UTC")


def price(text: str) -> Any:
    """A price in cents."""
    return objects.Price.from_str(f"{Decimal(text):.2f}")


def instrument_id(number: int) -> Any:
    """The instrument of an order."""
    return identifiers.InstrumentId.from_str(f"O{number}.{VENUE}")


def play(histories: list[Json]) -> list[dict[str, Json]]:
    """Run all orders of all histories beside each other."""
    orders, prices, whose = [], [], []
    for place, history in enumerate(histories):
        for name in dict.fromkeys(it["name"] for it in history["commands"]):
            orders.append([it for it in history["commands"] if it["name"] == name])
            prices.append(history["prices"])
            whose.append((place, name))
    told: list[dict[str, Json]] = [{} for _ in histories]
    for (place, name), course in zip(whose, _run(orders, prices), strict=True):
        told[place][name] = course
    return told


def _run(orders: list[list[Json]], prices: list[list[str]]) -> list[Json]:
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True)
        )
    )
    engine.add_venue(
        venue=identifiers.Venue(VENUE), oms_type=enums.OmsType.NETTING,
        account_type=enums.AccountType.MARGIN, base_currency=currencies.USD,
        starting_balances=[objects.Money(1_000_000_000, currencies.USD)],
        reject_stop_orders=False, frozen_account=True,
        # A queue keeps what is asked while it answers until the next price.
        use_message_queue=False,
    )  # fmt: skip
    for number in range(len(orders)):
        engine.add_instrument(_equity(number))
    quotes = [quote for number, row in enumerate(prices) for quote in _quotes(number, row)]
    engine.add_data(quotes)
    player = Player(orders)
    engine.add_strategy(player)
    engine.run()
    told = player.told
    engine.dispose()
    return told


def _equity(number: int) -> Any:
    return instruments.Equity(
        instrument_id=instrument_id(number), raw_symbol=instrument_id(number).symbol,
        currency=currencies.USD, price_precision=2, price_increment=price("0.01"),
        lot_size=objects.Quantity.from_int(1), ts_event=0, ts_init=0,
    )  # fmt: skip


def _quotes(number: int, prices: list[str]) -> list[Any]:
    return [
        data.QuoteTick(
            instrument_id=instrument_id(number), bid_price=price(text), ask_price=price(text),
            bid_size=SIZE, ask_size=SIZE, ts_event=at, ts_init=at,
        )
        for at, text in zip(count(ORIGIN, SECOND), prices, strict=False)
    ]  # fmt: skip


if __name__ == "__main__":
    answers = play(json.load(sys.stdin))
    told = {"version": f"nautilus_trader {version('nautilus_trader')}", "answers": answers}
    json.dump(told, sys.stdout)
