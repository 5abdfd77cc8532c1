"""Positions and cash are the exact fold of the executions, checked against a plain model."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction

import asyncpg
from fixtures_postgres import make_account
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sp_world import LIMITS, World, desk, new_id, stamp

__all__ = ["desk"]

OPENING = Decimal(100_000)
CUT = 10**12


@dataclass(frozen=True)
class Fill:
    """One execution."""

    side: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str = "USD"


@dataclass
class Model:
    """The position as one would keep it on paper."""

    quantity: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    cash: dict[str, Fraction] = field(default_factory=lambda: {"USD": Fraction(OPENING)})

    def book(self, fill: Fill) -> None:
        """Close what is opposite at average cost, open the rest at the price."""
        sign = 1 if fill.side == "buy" else -1
        size, price = Fraction(fill.quantity), Fraction(fill.price)
        closed = min(size, abs(self.quantity)) if self.quantity * sign < 0 else Fraction(0)
        released = Fraction(0)
        if closed:
            exact = self.cost * closed / abs(self.quantity)
            whole = closed == abs(self.quantity)
            released = exact if whole else Fraction(int(exact * CUT), CUT)
        self.quantity += sign * size
        self.cost += -released + sign * (size - closed) * price
        self.realized += -sign * closed * price - released
        self.fees += Fraction(fill.fee) if fill.fee_currency == "USD" else 0
        self.cash["USD"] -= sign * size * price
        currency = fill.fee_currency
        self.cash[currency] = self.cash.get(currency, Fraction(0)) - Fraction(fill.fee)


def _decimals(least: str, most: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(least, most, places=places, allow_nan=False)


FILLS = st.builds(
    Fill,
    side=st.sampled_from(["buy", "sell"]),
    quantity=st.one_of(
        st.integers(1, 7).map(Decimal), _decimals("0.00000001", "9", 8), _decimals("1", "90", 3)
    ),
    price=st.one_of(_decimals("0.01", "500", 2), _decimals("0.00000001", "3", 8)),
    fee=st.one_of(st.just(Decimal(0)), _decimals("0", "5", 4)),
    fee_currency=st.sampled_from(["USD", "USD", "USD", "EUR"]),
)


async def _book(desk: World, account: int, fills: list[Fill]) -> None:
    """Book executions through one order each, in the order given."""
    source = await desk.source(account)
    for fill in fills:
        client_order_id = new_id()
        await desk.root.execute(
            """INSERT INTO app.orders (
                client_order_id, request_hash, account_id, instrument_id, side, order_type,
                time_in_force, quantity, status, created_by, request_id
            ) SELECT $1, '', $2, instrument_id, $3, 'market', 'day', $4, 'submitted', $5, 'r'
            FROM app.instruments WHERE symbol = 'AAPL'""",
            *(client_order_id, account, fill.side, fill.quantity, desk.trader),
        )
        event = {
            **{"event_id": new_id(), "kind": "order_event", "client_order_id": client_order_id},
            **{"status": "filled", "occurred_at": stamp(), "exec_id": new_id()},
            **{"fill_quantity": f"{fill.quantity:f}", "fill_price": f"{fill.price:f}"},
            **{"fee": f"{fill.fee:f}", "fee_currency": fill.fee_currency},
        }
        query = "SELECT app.sp_inbox_put($1, 'L', 1, $2::jsonb, NULL)"
        await desk.api.execute(query, source, json.dumps([event]))
        assert await desk.apply_pending() == ["applied"], fill


async def _position(desk: World, account: int) -> asyncpg.Record:
    query = "SELECT * FROM app.positions WHERE account_id = $1"
    return await desk.root.fetchrow(query, account)


async def _check(desk: World, fills: list[Fill]) -> None:
    account = await make_account(desk.migrate, {desk.trader: True}, cash=OPENING, limits=LIMITS)
    await _book(desk, account, fills)
    model = Model()
    for fill in fills:
        model.book(fill)
    row = await _position(desk, account)
    booked = [Fraction(row[name]) for name in ("quantity", "cost", "realized_pnl", "fees")]
    assert booked == [model.quantity, model.cost, model.realized, model.fees]
    cash = await desk.root.fetch(
        "SELECT currency, amount FROM app.cash_balances WHERE account_id = $1", account
    )
    held = {balance["currency"]: Fraction(balance["amount"]) for balance in cash}
    assert held == {name: amount for name, amount in model.cash.items() if amount or name == "USD"}
    # The identities that hold whatever was cut: traded cash, and nothing left of a flat position.
    usd_fees = Fraction(row["fees"])
    assert held["USD"] == Fraction(OPENING) + booked[2] - booked[1] - usd_fees
    assert row["quantity"] != 0 or row["cost"] == 0


async def test_random_executions_agree_with_the_model(desk: World) -> None:
    examples: list[list[Fill]] = []

    @settings(
        max_examples=60,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(FILLS, min_size=1, max_size=12))
    def collect(fills: list[Fill]) -> None:
        examples.append(fills)

    await asyncio.to_thread(collect)
    assert len(examples) >= 50
    async with asyncio.timeout(60):
        for fills in examples:
            await _check(desk, fills)
    await desk.assert_whole()


def _fill(side: str, quantity: str, price: str, fee: str = "1") -> Fill:
    return Fill(side, Decimal(quantity), Decimal(price), Decimal(fee))


async def test_a_long_is_reduced_closed_and_flipped_at_average_cost(desk: World) -> None:
    account = await make_account(desk.migrate, {}, cash=OPENING, limits=LIMITS)
    for fill, expected in (
        (_fill("buy", "10", "100"), ("10", "1000", "0", "1")),
        (_fill("buy", "10", "110"), ("20", "2100", "0", "2")),
        (_fill("sell", "5", "120"), ("15", "1575", "75", "3")),
        (_fill("sell", "20", "100"), ("-5", "-500", "0", "4")),
        (_fill("buy", "2", "90"), ("-3", "-300", "20", "5")),
        (_fill("buy", "3", "101"), ("0", "0", "17", "6")),
    ):
        await _book(desk, account, [fill])
        row = await _position(desk, account)
        figures = tuple(row[name] for name in ("quantity", "cost", "realized_pnl", "fees"))
        assert figures == tuple(map(Decimal, expected)), fill
    balance = await desk.root.fetchval(
        "SELECT amount FROM app.cash_balances WHERE account_id = $1", account
    )
    assert balance == OPENING + 17 - 6


async def test_a_cost_that_does_not_divide_loses_nothing(desk: World) -> None:
    account = await make_account(desk.migrate, {}, cash=OPENING, limits=LIMITS)
    huge = _fill("buy", "3", "33333333333.33333333")
    await _book(desk, account, [huge, *[_fill("sell", "1", "33333333333.33333333")] * 2])
    row = await _position(desk, account)
    assert row["cost"] - row["realized_pnl"] == Decimal("33333333333.33333333")
    await _book(desk, account, [_fill("sell", "1", "33333333333.33333333")])
    row = await _position(desk, account)
    assert (row["quantity"], row["cost"], row["realized_pnl"]) == (0, 0, 0)


async def test_the_average_price_of_an_order_is_that_of_its_executions(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit(quantity=Decimal(3))
    await desk.fill(order, "1", "100.01")
    await desk.fill(order, "2", "100.02")
    average = (await desk.order(order["order_id"]))["average_price"]
    with localcontext() as context:
        context.prec = 40
        assert abs(average - Decimal("300.05") / 3) < Decimal("1e-12")
