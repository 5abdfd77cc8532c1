"""Books executions as a venue reports them, and reads what the tables make of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import psycopg
from sp_world import new_id, stamp

# symbol -> currency, multiplier
INSTRUMENTS = {
    "AAPL": ("USD", Decimal(1)),
    "ES": ("USD", Decimal(50)),
    "SAP": ("EUR", Decimal("0.1")),
}
PAID_IN = {"USD": 1_000_000, "EUR": 5_000}
ACCOUNT = "SELECT app.sp_account_upsert('t', %s, 'USD', 'quantconnect', %s, TRUE) AS account_id"
APPLY = """
    SELECT outcome FROM app.sp_apply_broker_events(ARRAY(
        SELECT inbox_id FROM app.inbox WHERE source = %s AND applied_at IS NULL ORDER BY inbox_id
    ))
"""

Figures = dict[str, tuple[Fraction, ...]]


@dataclass(frozen=True)
class Fill:
    """An execution; those of one order share its number, symbol and side."""

    exec_id: str
    order: int
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal | None = None
    fee_currency: str = "USD"

    @property
    def sign(self) -> int:
        """1 for a buy, -1 for a sale."""
        return 1 if self.side == "buy" else -1

    @property
    def value(self) -> Fraction:
        """What was paid for it, negative for a sale."""
        multiplier = INSTRUMENTS[self.symbol][1]
        return self.sign * Fraction(self.quantity) * Fraction(self.price) * Fraction(multiplier)


class Venue:
    """Reports to one account after the other, as bridges do."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]]) -> None:
        self._connection = connection

    def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        """Ask as the owner of everything."""
        return self._connection.execute(query.encode(), arguments).fetchall()

    def open(self) -> tuple[int, str]:
        """Open an account with cash in two currencies; returns its id and its source."""
        name = new_id()
        account_id = self.rows(ACCOUNT, f"A {name}", name)[0]["account_id"]
        for currency, amount in PAID_IN.items():
            query = "SELECT app.sp_cash_book('t', %s, %s, %s, 'opening', 'o')"
            self.rows(query, account_id, currency, amount)
        return account_id, f"qc:{name}"

    def report(self, source: str, events: Iterable[dict[str, Any]]) -> list[str]:
        """Report and apply; returns what came of each."""
        query = "SELECT app.sp_inbox_put(%s, 'L', 1, %s::jsonb, NULL) AS n"
        self.rows(query, source, json.dumps(list(events)))
        return [row["outcome"] for row in self.rows(APPLY, source)]

    def book(self, fills: Sequence[Fill], then: Sequence[dict[str, Any]] = ()) -> Figures:
        """Report fills, and what comes after, of a new account; returns its figures."""
        account_id, source = self.open()
        outcomes = self.report(source, [*map(fill_event, fills), *then])
        assert outcomes == ["applied"] * len(outcomes)
        return self.figures(account_id)

    def figures(self, account_id: int) -> Figures:
        """Return positions by symbol and cash by currency, without what is nothing.

        On the way: the check of integrity agrees, and equity is what was paid in, won and lost.
        """
        assert self.rows("SELECT * FROM app.sp_integrity_find(ARRAY[%s::bigint])", account_id) == []
        for row in self.rows(
            "SELECT * FROM reporting.equity_by_currency WHERE account_id = %s", account_id
        ):
            equity, realized, unrealized, fees = (
                Fraction(row[name]) for name in ("equity", "realized_pnl", "unrealized_pnl", "fees")
            )
            assert equity == PAID_IN.get(row["currency"], 0) + realized + unrealized - fees, row
        positions = self.rows(
            "SELECT i.symbol AS name, p.quantity, p.cost, p.realized_pnl, p.fees"
            " FROM app.positions AS p JOIN app.instruments AS i USING (instrument_id)"
            " WHERE p.account_id = %s",
            account_id,
        )
        cash = self.rows(
            "SELECT currency AS name, amount, fees FROM app.cash_balances WHERE account_id = %s",
            account_id,
        )
        found = {row.pop("name"): tuple(map(Fraction, row.values())) for row in positions + cash}
        return {name: values for name, values in found.items() if any(values)}


def fill_event(fill: Fill, **changes: Any) -> dict[str, Any]:
    """Return the report of a fill of an order that the venue tells us of."""
    order = {
        **{"broker_order_id": f"B{fill.order}", "symbol": fill.symbol, "side": fill.side},
        **{"order_type": "market", "quantity": "5"},
    }
    fee = {} if fill.fee is None else {"fee": f"{fill.fee:f}", "fee_currency": fill.fee_currency}
    return {
        **{"event_id": new_id(), "kind": "order_event", "status": "partially_filled"},
        **{"occurred_at": stamp(), "external": order, "exec_id": fill.exec_id},
        **{"fill_quantity": f"{fill.quantity:f}", "fill_price": f"{fill.price:f}"},
        **fee,
        **changes,
    }


def bust(fill: Fill) -> dict[str, Any]:
    """Return the report that takes a fill back."""
    return {**fill_event(fill), "kind": "bust"}


def commission(fill: Fill) -> dict[str, Any]:
    """Return the later report of a fill's fee."""
    return {**fill_event(fill), "kind": "commission"}
