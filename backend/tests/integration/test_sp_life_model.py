"""Whatever users, worker and venue do in whatever order, the tables agree with the model."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any, ClassVar

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from life_model import OVER, Fill, Order, fold
from psycopg.rows import dict_row
from sp_world import BELOW, World, begun, desk, new_id, stamp

__all__ = ["desk"]

EXAMPLES = int(os.environ.get("LIFE_EXAMPLES", "30"))
STEPS = int(os.environ.get("LIFE_STEPS", "40"))
GENEROUS = """
    UPDATE app.risk_limits SET position_quantity_max = 1e9, open_orders_max = 1000000,
        orders_per_minute_max = 1000000, daily_loss_max = 1e9, leverage_max = 100,
        order_notional_max = 1e9, price_collar = 0.99;
    UPDATE app.users SET orders_per_minute_max = 1000000;
    UPDATE market.last_prices SET received_at = now() + interval '1 hour'
"""

ORDERS_MAX = 6
APPLY_LATEST = """
    SELECT outcome FROM app.sp_apply_broker_events(ARRAY(SELECT max(inbox_id) FROM app.inbox))
"""
OUTCOMES = ("accepted", "accepted", "unknown", "not_sent")
SIZES = st.integers(1, 12)
PRICES = st.integers(90, 110)
FEES = st.one_of(st.none(), st.integers(0, 5))


def _any(order: Order) -> bool:
    return order.status not in OVER or order.number % 3 == 0


def _sent(order: Order) -> bool:
    return not order.unsent and _any(order)


def _held(order: Order) -> bool:
    return bool(order.held)


class Life(RuleBasedStateMachine):
    """One account with its user, worker and venue."""

    desk: ClassVar[World]
    connection: ClassVar[psycopg.Connection[dict[str, Any]]]

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Order] = []
        self.fills: list[Fill] = []
        self.account = self._one(
            "SELECT app.sp_account_upsert('t', %s, 'USD', 'quantconnect', %s, TRUE) AS a",
            *(f"A {(name := new_id())}", name),
        )["a"]
        self.source = f"qc:{name}"
        self._one("SELECT app.sp_member_set('t', %s, %s, TRUE)", self.account, self.desk.trader)
        self._one("SELECT app.sp_risk_limits_set('t', %s, 1000, 1000000, 0.9)", self.account)
        self._one("SELECT app.sp_cash_book('t', %s, 'USD', 1000000, 'opening', 'o')", self.account)
        self.connection.execute(GENEROUS)

    def _one(self, query: str, *arguments: Any) -> dict[str, Any]:
        row = self.connection.execute(query.encode(), arguments).fetchone()
        assert row is not None
        return row

    def _report(self, order: Order, kind: str, **fields: Any) -> str:
        event = {
            **{"event_id": new_id(), "kind": kind, "client_order_id": order.client_order_id},
            **{"occurred_at": stamp(), **fields},
        }
        query = "SELECT app.sp_inbox_put(%s, 'L', 1, %s::jsonb, NULL)"
        self._one(query, self.source, json.dumps([event]))
        return str(self._one(APPLY_LATEST)["outcome"])

    def _venue(self, order: Order, status: str, **fields: Any) -> str:
        return self._report(
            order, "order_event", status=status, broker_order_id=f"B{order.order_id}", **fields
        )

    def _fill(self, order: Order, fill: Fill) -> str:
        return self._venue(
            order,
            "partially_filled",
            exec_id=fill.exec_id,
            exec_revision=fill.revision,
            fill_quantity=str(fill.quantity),
            fill_price=str(fill.price),
            **({} if fill.fee is None else {"fee": str(fill.fee), "fee_currency": "USD"}),
        )

    def _refused(self, query: str, *arguments: Any) -> str | None:
        """Call a procedure; return the code of its refusal."""
        try:
            self._one(query, *arguments)
        except psycopg.Error as error:
            return error.diag.message_detail
        return None

    def _choose(self, data: st.DataObject, wanted: Callable[[Order], bool]) -> Order:
        numbers = [order.number for order in self.known if wanted(order)]
        return self.known[data.draw(st.sampled_from(numbers))]

    @initialize(data=st.data())
    def open(self, data: st.DataObject) -> None:
        """Three orders work, or most of what may happen never would."""
        for _ in range(3):
            self.place(data)
            self.send(data, "accepted")
            self._venue(self.known[-1], "accepted")
            self.known[-1].work()

    # One rule for all: rules of their own would be switched off at random, run by run, until next
    # to nothing happens.
    @rule(data=st.data())
    def happen(self, data: st.DataObject) -> None:
        """Something happens that can."""
        working = any(order.status not in OVER for order in self.known)
        alive, sent, held = (any(map(which, self.known)) for which in (_any, _sent, _held))
        # How often, while it can happen at all.
        acts = {
            self.fill: 4 * sent,
            self.replace: 3 * alive,
            self.replaced: 2 * sent,
            self.correct: 2 * held,
            self.bust: 2 * held,
            self.charge: held,
            self.repeat: held,
            self.place: len(self.known) < ORDERS_MAX,
            self.send: 3 * working,
            self.accept: 2 * sent,
            self.reject_replace: alive,
            self.cancel: alive,
            self.end: sent,
            self.cancel_all: len(self.fills) > 6,
        }
        possible = [act for act, weight in acts.items() for _ in range(weight)]
        possible[data.draw(st.integers(0, len(possible) - 1))](data)

    def place(self, data: st.DataObject) -> None:
        """The user places an order."""
        side = data.draw(st.sampled_from(["buy", "sell"]))
        quantity = data.draw(SIZES)
        row = self._one(
            """SELECT * FROM app.sp_place_order(%s, 's', 'r', %s, %s, 'AAPL', %s, 'limit', %s, 100,
                NULL, 'day', NULL, NULL)""",
            *(self.desk.trader, (name := new_id()), self.account, side, quantity),
        )
        assert row["status"] == "new", row
        self.known.append(Order(len(self.known), name, row["order_id"], side, quantity))

    def send(self, data: st.DataObject, outcome: str = "") -> None:
        """The worker sends what is due."""
        outcome = outcome or data.draw(st.sampled_from(OUTCOMES))
        self.connection.execute("TRUNCATE app.outbox_parked")
        query = "SELECT * FROM app.sp_begin_sends('w', 100, '10 s')"
        for send in self.connection.execute(query.encode()).fetchall():
            order = next(o for o in self.known if o.order_id == send["order_id"])
            result = {**begun(send), "outcome": outcome}
            done = self._one(
                "SELECT app.sp_finish_sends('w', %s::jsonb) AS n", json.dumps([result])
            )
            assert done["n"] == 1
            assert order.status not in OVER, "nothing is sent for what is over"
            if send["action"] == "place":
                assert order.unsent, "nothing is placed twice"
                order.unsent = outcome == "not_sent"
                after = {"accepted": "submitted", "unknown": "submit_unknown"}
                order.move(after.get(outcome, "submitting"))
            elif send["action"] in ("cancel", "replace"):
                assert order.status == f"pending_{send['action']}"

    def cancel(self, data: st.DataObject) -> None:
        """The user cancels an order."""
        order = self._choose(data, _any)
        query = "SELECT * FROM app.sp_cancel_order(%s, 's', 'r', %s, %s)"
        code = self._refused(query, self.desk.trader, new_id(), order.order_id)
        if order.status in ("filled", "rejected", "expired"):
            assert code == "order_not_cancelable"
        else:
            assert code is None
            if order.status not in ("canceled", "pending_cancel"):
                order.cancel()

    def replace(self, data: st.DataObject) -> None:
        """The user asks for another size."""
        quantity = data.draw(SIZES)
        order = self._choose(data, _any)
        query = "SELECT * FROM app.sp_replace_order(%s, 's', 'r', %s, %s, %s, NULL, NULL)"
        code = self._refused(query, self.desk.trader, new_id(), order.order_id, quantity)
        working = order.status in ("accepted", "partially_filled")
        if not working and (not order.unsent or order.status in OVER):
            assert code == "order_not_replaceable"
        elif quantity <= order.cum:
            assert code == "quantity_below_filled"
        elif quantity == order.quantity:
            assert code == "replace_empty"
        elif working:
            assert code is None
            order.move("pending_replace")
            order.pending = quantity
        else:
            assert code is None
            order.quantity = quantity

    def accept(self, data: st.DataObject) -> None:
        """The venue says that an order works."""
        order = self._choose(data, _sent)
        self._venue(order, "accepted")
        order.work()

    def end(self, data: st.DataObject) -> None:
        """The venue ends an order."""
        status = data.draw(st.sampled_from(["canceled", "rejected", "expired"]))
        order = self._choose(data, _sent)
        self._venue(order, status, reason="R")
        order.end(status)

    def fill(self, data: st.DataObject) -> None:
        """The venue executes a part, or too much."""
        quantity = data.draw(st.integers(1, 6))
        price = data.draw(PRICES)
        fee = data.draw(FEES)
        order = self._choose(data, _sent)
        fill = Fill(new_id(), order.side, quantity, price, fee)
        assert self._fill(order, fill) == "applied"
        order.take(quantity)
        order.fills.append(fill)
        self.fills.append(fill)
        order.work()

    def repeat(self, data: st.DataObject) -> None:
        """The venue repeats an execution."""
        order = self._choose(data, _held)
        fill = order.held[data.draw(st.integers(0, len(order.held) - 1))]
        assert self._fill(order, fill) in ("duplicate", "applied")
        order.work()

    def correct(self, data: st.DataObject) -> None:
        """The venue corrects an execution."""
        quantity = data.draw(SIZES)
        price = data.draw(PRICES)
        order = self._choose(data, _held)
        fill = order.held[data.draw(st.integers(0, len(order.held) - 1))]
        changed = Fill(fill.exec_id, fill.side, quantity, price, fill.fee, fill.revision + 1)
        assert self._fill(order, changed) == "applied"
        order.take(quantity - fill.quantity)
        fill.quantity, fill.price, fill.revision = quantity, price, fill.revision + 1
        order.recorrect()
        order.work()

    def bust(self, data: st.DataObject) -> None:
        """The venue takes an execution back."""
        order = self._choose(data, _held)
        fill = order.held[data.draw(st.integers(0, len(order.held) - 1))]
        assert self._report(order, "bust", exec_id=fill.exec_id) == "applied"
        fill.busted = True
        order.recorrect()

    def charge(self, data: st.DataObject) -> None:
        """The venue reports a fee."""
        fee = data.draw(st.integers(0, 5))
        order = self._choose(data, _held)
        fill = order.held[data.draw(st.integers(0, len(order.held) - 1))]
        same = fill.fee == fee
        outcome = self._report(order, "commission", exec_id=fill.exec_id, fee=str(fee))
        assert outcome == ("duplicate" if same else "applied")
        fill.fee = fee

    def replaced(self, data: st.DataObject) -> None:
        """The venue works another size."""
        quantity = data.draw(SIZES)
        order = self._choose(data, _sent)
        self._venue(order, "replaced", quantity=str(quantity))
        order.replaced(quantity)

    def reject_replace(self, data: st.DataObject) -> None:
        """The venue keeps an order as it is."""
        order = self._choose(data, _any)
        self._report(order, "replace_rejected", reason="R")
        order.replace_rejected()

    def cancel_all(self, _: st.DataObject) -> None:
        """The user cancels everything."""
        query = "SELECT app.sp_cancel_all(%s, 's', 'r', %s, %s) AS n"
        count = self._one(query, self.desk.trader, new_id(), self.account)["n"]
        due = [o for o in self.known if o.status not in (*OVER, "pending_cancel")]
        assert count == len(due)
        for order in due:
            order.cancel()

    @invariant()
    def the_tables_agree(self) -> None:
        """Orders, position and cash are those of the model."""
        query = "SELECT * FROM app.orders WHERE account_id = %s ORDER BY order_id"
        rows = self.connection.execute(query.encode(), [self.account]).fetchall()
        for row, order in zip(rows, self.known, strict=True):
            got = (row["status"], row["quantity"], row["cum_quantity"], row["pending_quantity"])
            assert got == (order.status, order.quantity, order.cum, order.pending)
            assert (row["overfill"], row["corrected"]) == (order.overfill, order.corrected)
            assert (row["average_price"] is None) == (order.average is None)
            if order.average is not None:
                assert abs(Fraction(row["average_price"]) - order.average) < Fraction(1, 10**12)
        book = fold(self.fills)
        position = self.connection.execute(
            b"SELECT quantity, cost, realized_pnl, fees FROM app.positions WHERE account_id = %s",
            [self.account],
        ).fetchone()
        figures = [Fraction(value) for value in (position or {}).values()] or [Fraction(0)] * 4
        assert figures == [book.quantity, book.cost, book.realized, book.fees]
        query = "SELECT amount FROM app.cash_balances WHERE account_id = %s"
        assert Fraction(self._one(query, self.account)["amount"]) == 1_000_000 + book.cash
        assert self.connection.execute(BELOW.encode()).fetchall() == []

    def teardown(self) -> None:
        """Check the audit chain and leave nothing to the next account."""
        broken = self._one("SELECT broken_seq FROM app.sp_audit_verify(%s)", self.account)
        assert broken["broken_seq"] is None
        self.connection.execute("TRUNCATE app.events_outbox, app.outbox_parked")


def _run(world: World) -> None:
    with psycopg.connect(
        world.database.dsn("postgres"), autocommit=True, row_factory=dict_row
    ) as connection:
        connection.execute("SELECT app.sp_acquire_shards('w', 16, '1 hour')")
        Life.desk, Life.connection = world, connection
        run_state_machine_as_test(
            Life,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                derandomize=EXAMPLES <= 100,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


async def test_the_tables_agree_with_the_model_whatever_happens(desk: World) -> None:
    await asyncio.to_thread(_run, desk)
