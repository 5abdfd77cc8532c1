"""What nautilus_trader makes of histories: positions at average cost, net of fees."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from contract.answering import Answer, answer, fills_of, legs
from contract.histories import MULTIPLIERS, Fill, by_symbol
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model import currencies, enums, events, identifiers, instruments, objects
from nautilus_trader.model.position import Position


def nautilus(questions: list[list[dict[str, Any]]]) -> list[Answer]:
    """Fold each instrument of each history into its positions, as its engine would."""
    return [
        {symbol: _netted(symbol, fills) for symbol, fills in by_symbol(held).items()}
        for held in fills_of(questions)
    ]


def _netted(symbol: str, fills: Sequence[Fill]) -> Answer:
    pair = _instrument(symbol)
    past, position, closing = Decimal(0), None, 0
    for fill, closed, opened, _ in legs(fills):
        # The fee goes with what closes, or with all.
        if closed and position is not None:
            position.apply(_filled(pair, fill, closed, fill.fee))
            closing += 1
            if position.is_closed:
                past += position.realized_pnl.as_decimal()
                position = None
        if opened:
            event = _filled(pair, fill, opened, Decimal(0) if closed else fill.fee)
            if position is None:
                position = Position(instrument=pair, fill=event)
            else:
                position.apply(event)
    held = position.signed_decimal_qty() if position else Decimal(0)
    now = position.realized_pnl.as_decimal() if position else Decimal(0)
    return {
        "quantity": str(held),
        "realized_net": str(past + now),
        "average": position.avg_px_open if position else None,
        "closing": closing,
    }


def _instrument(symbol: str) -> Any:
    """Something that is traded in whole hundred-millionths."""
    name = identifiers.Symbol(f"{symbol}/USD")
    step = "0.00000001"
    return instruments.CurrencyPair(
        instrument_id=identifiers.InstrumentId(name, identifiers.Venue("SIM")),
        raw_symbol=name, base_currency=currencies.BTC, quote_currency=currencies.USD,
        price_precision=8, size_precision=8,
        price_increment=objects.Price.from_str(step),
        size_increment=objects.Quantity.from_str(step),
        multiplier=objects.Quantity.from_str(str(MULTIPLIERS[symbol])), ts_event=0, ts_init=0,
    )  # fmt: skip


def _filled(pair: Any, fill: Fill, quantity: Decimal, fee: Decimal) -> Any:
    number = f"{fill.exec_id}-{quantity}"
    return events.OrderFilled(
        trader_id=identifiers.TraderId("T-1"), strategy_id=identifiers.StrategyId("S-1"),
        instrument_id=pair.id, client_order_id=identifiers.ClientOrderId(number),
        venue_order_id=identifiers.VenueOrderId(number),
        account_id=identifiers.AccountId("SIM-1"), trade_id=identifiers.TradeId(number),
        position_id=identifiers.PositionId("P-1"),
        order_side=enums.OrderSide.BUY if fill.side == "buy" else enums.OrderSide.SELL,
        order_type=enums.OrderType.MARKET,
        last_qty=objects.Quantity.from_str(f"{quantity:.8f}"),
        last_px=objects.Price.from_str(f"{fill.price:.8f}"), currency=pair.quote_currency,
        commission=objects.Money.from_str(f"{fee:.2f} {fill.fee_currency}"),
        liquidity_side=enums.LiquiditySide.TAKER, event_id=UUID4(), ts_event=0, ts_init=0,
    )  # fmt: skip


if __name__ == "__main__":
    answer("nautilus_trader", nautilus)
