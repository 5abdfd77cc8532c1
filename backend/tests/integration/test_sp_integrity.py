"""Figures that somebody bent are found, told for as long as they are so, and never put right."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from fixtures_postgres import make_instrument, set_price
from sp_world import World, desk, refused

__all__ = ["desk"]

CHECK = "SELECT checked_to, breaks::text AS breaks FROM app.sp_integrity_check('t', $1, $2)"


async def _check(desk: World) -> list[dict[str, Any]]:
    """Check all accounts one after the other, as the worker."""
    found: list[dict[str, Any]] = []
    after: int | None = None
    while True:
        row = await desk.worker.fetchrow(CHECK, after, 1)
        found += json.loads(row["breaks"])
        after = row["checked_to"]
        if after is None:
            return found


async def _trade(desk: World) -> None:
    """Long, flat, short, corrected, busted, overfilled, with a multiplier and a foreign fee."""
    await make_instrument(desk.migrate, "ES", multiplier=Decimal(50))
    await set_price(desk.migrate, "ES", "100")
    await desk.acquire()
    buy = await desk.submit()
    await desk.fill(buy, "4", "100.5", exec_id="a")
    await desk.fill(buy, "7", "101", exec_id="b")
    await desk.fill(buy, "4", "100.25", exec_id="a", exec_revision=1)
    sell = await desk.submit(side="sell", quantity=Decimal(30))
    await desk.fill(sell, "30", "103", exec_id="c", fee="3")
    await desk.fill(await desk.submit(symbol="ES", quantity=Decimal(2)), "2", exec_id="d")
    await desk.report(buy, "bust", exec_id="b")
    late = await desk.submit(side="sell", quantity=Decimal(1))
    await desk.venue(
        late,
        "filled",
        **{"exec_id": "e", "fill_quantity": "1", "fill_price": "99"},
    )
    await desk.report(late, "commission", exec_id="e", fee="0.75", fee_currency="EUR")


async def _audited(desk: World, action: str) -> list[Any]:
    rows = await desk.root.fetch(
        "SELECT detail::text FROM audit.audit_log WHERE stream_id = 0 AND action = $1 ORDER BY seq",
        action,
    )
    return [json.loads(row["detail"])["breaks"] for row in rows]


async def test_honest_books_have_no_breaks(desk: World) -> None:
    await _trade(desk)
    assert await desk.root.fetchval("SELECT count(*) FROM app.executions") > 5
    assert await _check(desk) == []
    assert await _audited(desk, "integrity.break") == []


@pytest.mark.parametrize(
    ("tampering", "figure", "subject"),
    [
        ("UPDATE app.positions SET quantity = quantity + 1", "position.quantity", "AAPL"),
        ("UPDATE app.positions SET cost = cost + 1e-12", "position.cost", "AAPL"),
        ("UPDATE app.positions SET realized_pnl = 0", "position.realized_pnl", "AAPL"),
        ("UPDATE app.positions SET fees = fees - 1", "position.fees", "AAPL"),
        ("DELETE FROM app.positions", "position.quantity", "AAPL"),
        ("UPDATE app.cash_balances SET amount = amount + 1", "cash.amount", "USD"),
        ("UPDATE app.cash_balances SET fees = 0", "cash.fees", "EUR"),
        ("DELETE FROM app.cash_balances WHERE currency = 'EUR'", "cash.amount", "EUR"),
        ("INSERT INTO app.cash_balances VALUES (2, 'JPY', 1, 0)", "cash.amount", "JPY"),
        ("UPDATE app.cash_movements SET amount = amount + 5", "cash.amount", "USD"),
        ("UPDATE app.orders SET cum_quantity = 3 WHERE order_id = 1", "order.cum_quantity", "1"),
        ("UPDATE app.instruments SET multiplier = 49 WHERE symbol = 'ES'", "position.cost", "ES"),
        (
            "UPDATE app.streams SET open_bound = (0, 5, 0, 1e6) WHERE stream_id = 1",
            "open_bound.orders",
            "open orders",
        ),
        (
            "UPDATE app.streams SET open_bound = (9, 5, 0, 1e6) WHERE stream_id = 1",
            "open_bound.buys",
            "open orders",
        ),
        (
            "UPDATE app.streams SET open_bound = (9, 5, 0, 7) WHERE stream_id = 1",
            "open_bound.value",
            "open orders",
        ),
        (
            "ALTER TABLE app.executions DISABLE TRIGGER executions_append_only;"
            "UPDATE app.executions SET price = price + 1",
            "cash.amount",
            "USD",
        ),
        (
            "ALTER TABLE app.executions DISABLE TRIGGER executions_append_only;"
            "DELETE FROM app.executions WHERE exec_base = 'c'",
            "position.quantity",
            "AAPL",
        ),
    ],
)
async def test_whatever_is_bent_is_found(
    desk: World, tampering: str, figure: str, subject: str
) -> None:
    await _trade(desk)
    await desk.root.execute(tampering)
    found = await _check(desk)
    assert (figure, subject) in {(one["figure"], one["subject"]) for one in found}
    kept = await desk.root.fetch("SELECT figure, subject FROM app.integrity_breaks")
    assert {tuple(row) for row in kept} == {(one["figure"], one["subject"]) for one in found}


async def test_a_break_is_audited_when_it_comes_changes_and_goes(desk: World) -> None:
    await _trade(desk)
    bend = "UPDATE app.cash_balances SET amount = amount + $2 WHERE account_id = $1"
    bend += " AND currency = 'USD'"
    await desk.root.execute(bend, desk.account, Decimal(1))
    [one] = await _check(desk)
    assert (one["account_id"], one["figure"], one["subject"]) == (1, "cash.amount", "USD")
    assert Decimal(str(one["ours"])) - Decimal(str(one["expected"])) == 1
    assert await _check(desk) == [one], "nothing is put right by itself"
    assert len(await _audited(desk, "integrity.break")) == 1, "once, not every five minutes"
    await desk.root.execute(bend, desk.account, Decimal(1))
    await _check(desk)
    assert len(await _audited(desk, "integrity.break")) == 2
    await desk.root.execute(bend, desk.account, Decimal(-2))
    assert await _check(desk) == []
    assert await _audited(desk, "integrity.mended") == [
        [{"account_id": 1, "figure": "cash.amount", "subject": "USD"}]
    ]
    assert await desk.root.fetchval("SELECT count(*) FROM app.integrity_breaks") == 0
    await desk.assert_whole()


@pytest.mark.parametrize("accounts", [None, 0, -1, 1001])
async def test_a_check_has_a_bound(desk: World, accounts: int | None) -> None:
    with refused("IN422", "accounts_max_invalid"):
        await desk.worker.fetchrow(CHECK, None, accounts)
