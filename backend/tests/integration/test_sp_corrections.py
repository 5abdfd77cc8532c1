"""Corrections, busts and late fees are further rows, and every figure follows exactly."""

from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sp_world import World, desk, new_id

__all__ = ["desk"]


async def _position(desk: World) -> tuple[Any, ...]:
    row = await desk.root.fetchrow(
        "SELECT quantity, cost, realized_pnl, fees FROM app.positions WHERE account_id = $1",
        desk.account,
    )
    return tuple(row)


async def _cash(desk: World) -> Any:
    query = "SELECT amount FROM app.cash_balances WHERE account_id = $1 AND currency = 'USD'"
    return await desk.root.fetchval(query, desk.account) - 100_000


async def _figures(desk: World, order: asyncpg.Record) -> tuple[Any, ...]:
    row = await desk.order(order["order_id"])
    return (row["status"], row["cum_quantity"], row["average_price"], row["corrected"])


async def _rows(desk: World) -> list[tuple[Any, ...]]:
    rows = await desk.root.fetch(
        """SELECT exec_revision, fee_revision, kind, quantity, price, fee
        FROM app.executions ORDER BY execution_id"""
    )
    return [tuple(row) for row in rows]


async def test_a_correction_is_a_row_of_its_own_and_everything_follows(desk: World) -> None:
    await desk.acquire()
    buy = await desk.submit()
    await desk.fill(buy, "10", "100", exec_id="b", status="filled")
    sell = await desk.submit(side="sell")
    await desk.fill(sell, "4", "110", exec_id="s")
    assert await _position(desk) == (6, 600, 40, 2)
    assert await _cash(desk) == -1000 + 440 - 2
    again: dict[str, Any] = {"exec_id": "b", "exec_revision": 1, "status": "filled"}
    assert await desk.fill(buy, "10", "101", **again) == "applied"
    assert await _figures(desk, buy) == ("filled", 10, 101, True)
    assert await _position(desk) == (6, 606, 36, 2), "the close is worth less"
    assert await _cash(desk) == -1010 + 440 - 2
    assert await _rows(desk) == [
        (0, 0, "trade", 10, 100, 1),
        (0, 0, "trade", 4, 110, 1),
        (1, 0, "correction", 10, 101, 1),
    ]
    assert await desk.fill(buy, "10", "101", **again) == "duplicate"
    assert await desk.fill(buy, "10", "102", **again) == "illegal"
    assert await desk.fill(buy, "10", "100", exec_id="b", status="filled") == "duplicate"
    assert (await desk.order(buy["order_id"]))["late_fill"] is False
    await desk.assert_whole()


async def test_a_smaller_size_after_the_fact_opens_a_filled_order_again(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "10", exec_id="x", status="filled")
    changed: dict[str, Any] = {"exec_id": "x", "exec_revision": 1, "status": "partially_filled"}
    assert await desk.fill(order, "7", **changed) == "applied"
    assert await _figures(desk, order) == ("partially_filled", 7, 100, True)
    assert [row["kind"] for row in await desk.outbox()] == ["order.query.v1"]
    assert await desk.fill(order, "3", status="filled") == "applied"
    assert await desk.status(order["order_id"]) == "filled"
    too_much: dict[str, Any] = {"exec_id": "x", "exec_revision": 2, "status": "filled"}
    assert await desk.fill(order, "8", **too_much) == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["cum_quantity"], row["overfill"]) == ("filled", 11, True)
    assert await desk.report(order, "bust", exec_id="x") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["cum_quantity"]) == ("partially_filled", 3)
    assert row["overfill"] is True, "it stays told"
    await desk.assert_whole()


async def test_a_bust_takes_the_execution_and_its_cash_back(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "4", exec_id="x")
    await desk.fill(order, "6", "102", exec_id="y", status="filled")
    assert await desk.report(order, "bust", exec_id="y") == "applied"
    assert await _figures(desk, order) == ("partially_filled", 4, 100, True)
    assert (await _position(desk), await _cash(desk)) == ((4, 400, 0, 1), -401)
    assert await desk.report(order, "bust", exec_id="y") == "duplicate"
    assert await desk.report(order, "bust", exec_id="x") == "applied"
    assert await _figures(desk, order) == ("accepted", 0, None, True)
    assert (await _position(desk), await _cash(desk)) == ((0, 0, 0, 0), 0)
    assert await desk.fill(order, "4", exec_id="x") == "applied", "old news, but asked after"
    assert await _figures(desk, order) == ("accepted", 0, None, True)
    assert await desk.fill(order, "4", exec_id="x", exec_revision=2) == "applied", "it holds again"
    assert await _figures(desk, order) == ("partially_filled", 4, 100, True)
    assert (await _position(desk), await _cash(desk)) == ((4, 400, 0, 1), -401)
    await desk.assert_whole()


async def test_a_bust_after_a_late_fill_goes_back_to_where_the_order_was(desk: World) -> None:
    await desk.acquire()
    for terminal in ("canceled", "expired", "rejected"):
        order = await desk.submit()
        await desk.venue(order, terminal, reason="BECAUSE")
        exec_id = new_id()
        await desk.fill(order, "10", exec_id=exec_id)
        assert await desk.status(order["order_id"]) == "filled"
        assert await desk.report(order, "bust", exec_id=exec_id) == "applied"
        assert await desk.status(order["order_id"]) == terminal
        assert await desk.outbox() == []
    await desk.assert_whole()


async def test_a_bust_that_comes_first_keeps_its_execution_out(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    assert await desk.report(order, "bust", exec_id="x") == "illegal"
    assert await desk.fill(order, "4", exec_id="x") == "stale"
    assert await desk.fill(order, "4", exec_id="y") == "applied"
    assert (await desk.order(order["order_id"]))["cum_quantity"] == 4
    await desk.assert_whole()


async def test_a_fee_that_comes_later_is_filled_in_once(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "4", exec_id="x", fee=None)
    assert (await _position(desk), await _cash(desk)) == ((4, 400, 0, 0), -400)
    fee = {"exec_id": "x", "fee": "1.25", "fee_currency": "USD"}
    assert await desk.report(order, "commission", **fee) == "applied"
    assert (await _position(desk), await _cash(desk)) == (
        (4, 400, 0, Decimal("1.25")),
        Decimal("-401.25"),
    )
    assert await desk.report(order, "commission", **fee) == "duplicate"
    assert await _rows(desk) == [(0, 0, "trade", 4, 100, Decimal("1.25"))]
    assert await desk.report(order, "commission", **{**fee, "fee": "2"}) == "applied"
    assert (await _position(desk), await _cash(desk)) == ((4, 400, 0, 2), -402)
    assert (await _rows(desk))[1] == (0, 1, "correction", 4, 100, 2)
    assert (await desk.order(order["order_id"]))["late_fill"] is False
    query = "SELECT action FROM audit.audit_log WHERE action LIKE 'execution.%' ORDER BY seq"
    actions = [row["action"] for row in await desk.root.fetch(query)]
    assert actions == ["execution.book", "execution.fee", "execution.correction"]
    await desk.assert_whole()


async def test_a_fee_that_comes_first_counts_with_its_execution(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    assert await desk.report(order, "commission", exec_id="x", fee="3") == "illegal"
    await desk.fill(order, "4", exec_id="x", fee=None)
    assert await _cash(desk) == -403
    await desk.assert_whole()


async def test_a_fee_of_the_answer_to_a_question_fills_the_gap(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "4", exec_id="x", fee=None)
    await desk.fill(order, "4", exec_id="x", fee="1")
    assert await _cash(desk) == -401
    bad = {"exec_id": "x", "fee": "-1"}
    assert await desk.report(order, "commission", **bad) == "invalid"
    assert await desk.report(order, "commission", fee="1") == "invalid"
    assert await desk.report(order, "bust") == "invalid"
    assert await desk.report(order, "bust", exec_id="x", exec_revision="y") == "invalid"


async def test_another_orders_execution_is_neither_busted_nor_paid_for(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "4", exec_id="x")
    other = await desk.submit()
    assert await desk.report(other, "bust", exec_id="x") == "illegal"
    assert await desk.report(other, "commission", exec_id="x", fee="9") == "illegal"
    assert await _cash(desk) == -401


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE app.executions SET price = 1",
        "UPDATE app.executions SET fee = 2",
        "UPDATE app.executions SET fee = NULL, fee_currency = NULL",
        "DELETE FROM app.executions",
    ],
)
async def test_rows_never_change(desk: World, statement: str) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "4")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="corrected by further rows"):
        await desk.root.execute(statement)
