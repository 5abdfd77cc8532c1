"""What the venue reports moves the order, whatever is repeated, late, out of order or broken."""

from decimal import Decimal
from typing import Any

import asyncpg
from sp_world import World, desk, refused, stamp

__all__ = ["desk"]

LATER_S = 60.0  # beyond the validity of any send of these tests


async def _notes(desk: World, order: asyncpg.Record) -> list[tuple[bool, str | None]]:
    rows = await desk.root.fetch(
        """SELECT applied, reason FROM app.order_events
        WHERE order_id = $1 AND source LIKE 'broker:%' ORDER BY order_event_id""",
        order["order_id"],
    )
    return [tuple(row) for row in rows]


async def _audited(desk: World, action: str) -> int:
    query = "SELECT count(*) FROM audit.audit_log WHERE action = $1"
    return int(await desk.root.fetchval(query, action))


async def _state(desk: World, order: asyncpg.Record, **fields: Any) -> str:
    fields = {"known": True, "occurred_at": stamp(LATER_S), **fields}
    return await desk.report(order, "order_state", **fields)


def _execution(exec_id: str, quantity: str, **fields: Any) -> dict[str, Any]:
    return {
        **{"exec_id": exec_id, "quantity": quantity, "price": "100", "fee": "1"},
        **{"fee_currency": "USD", "executed_at": stamp(), **fields},
    }


async def test_an_order_is_accepted_filled_in_parts_and_done(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    assert await desk.venue(order, "accepted") == "applied"
    assert await desk.status(order["order_id"]) == "accepted"
    assert await desk.fill(order, "4", "99") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["cum_quantity"], row["average_price"]) == ("partially_filled", 4, 99)
    assert await desk.fill(order, "1", "101") == "applied"
    assert await desk.fill(order, "5", "100", status="filled") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["cum_quantity"]) == ("filled", 10)
    assert row["average_price"] == Decimal("99.7")
    assert row["late_fill"] is False
    assert await _notes(desk, order) == [(True, None)] * 4
    assert await _audited(desk, "execution.book") == 3
    await desk.assert_whole()


async def test_a_fill_before_the_accept_and_before_the_send_is_finished_counts(
    desk: World,
) -> None:
    await desk.acquire()
    order = await desk.place()
    (send,) = await desk.begin()
    assert await desk.fill(order, "10", status="filled") == "applied"
    assert await desk.status(order["order_id"]) == "filled"
    assert await desk.outbox() == [], "the place row is done"
    assert await desk.finish(send, "unknown") == 0
    assert await desk.venue(order, "accepted") == "stale"
    assert await desk.status(order["order_id"]) == "filled"


async def test_reports_in_any_order_end_in_the_same_state(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    parts = [
        {"status": "accepted"},
        {"status": "partially_filled", "fill_quantity": "4", "exec_id": "x1"},
        {"status": "filled", "fill_quantity": "6", "exec_id": "x2"},
    ]
    for fields in reversed(parts):
        await desk.venue(order, **fields, fill_price="100")
    assert await desk.status(order["order_id"]) == "filled"
    assert await _audited(desk, "execution.book") == 2
    await desk.assert_whole()


async def test_a_report_of_more_than_we_have_is_asked_after_once(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.venue(order, "filled")
    assert await desk.status(order["order_id"]) == "accepted"
    await desk.venue(order, "filled")
    assert [row["kind"] for row in await desk.outbox()] == ["order.query.v1"]
    assert (await desk.send())["action"] == "query"
    executions = [_execution("x1", "4"), _execution("x2", "6")]
    assert await _state(desk, order, status="filled", executions=executions) == "applied"
    assert await desk.status(order["order_id"]) == "filled"


async def test_the_same_execution_counts_once_by_its_id(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    assert await desk.fill(order, "4", exec_id="x1") == "applied"
    assert await desk.fill(order, "4", exec_id="x1") == "duplicate"
    assert await desk.fill(order, "4.0", "100.00", exec_id="x1") == "duplicate"
    assert await desk.fill(order, "5", exec_id="x1") == "illegal"
    assert await desk.fill(order, "4", "101", exec_id="x1") == "illegal"
    other = await desk.submit()
    assert await desk.fill(other, "4", exec_id="x1") == "illegal"
    assert await _audited(desk, "broker.conflict") == 3
    assert (await desk.order(order["order_id"]))["cum_quantity"] == 4
    await desk.assert_whole()


async def test_more_than_was_ordered_is_booked_and_told(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "8")
    assert (await desk.order(order["order_id"]))["overfill"] is False
    assert await desk.fill(order, "3", "101", exec_id="over") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["quantity"], row["cum_quantity"]) == ("filled", 10, 11)
    assert (row["overfill"], row["late_fill"]) == (True, False)
    assert await desk.fill(order, "3", "101", exec_id="over") == "duplicate"
    assert await desk.fill(order, "0.00000001") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["cum_quantity"], row["late_fill"]) == (Decimal("11.00000001"), True)
    assert await _audited(desk, "order.overfill") == 2
    held = await desk.root.fetchrow("SELECT quantity, cost FROM app.positions")
    assert tuple(held) == (Decimal("11.00000001"), Decimal("1103.000001"))
    cash = await desk.root.fetchval("SELECT amount FROM app.cash_balances WHERE account_id = 1")
    assert cash == Decimal(100_000) - Decimal("1103.000001") - 3
    await desk.assert_whole()


async def test_an_overfill_after_the_end_completes_the_order(desk: World) -> None:
    await desk.acquire()
    for terminal in ("canceled", "expired", "rejected"):
        order = await desk.submit()
        await desk.venue(order, terminal, reason="BECAUSE")
        assert await desk.fill(order, "12") == "applied"
        row = await desk.order(order["order_id"])
        assert (row["status"], row["cum_quantity"]) == ("filled", 12)
        assert (row["overfill"], row["late_fill"]) == (True, True)
    await desk.assert_whole()


async def test_a_bridge_that_cannot_tell_is_not_asked_what_executions_tell(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    fill = {"exec_id": "x", "quantity": "11", "price": "100", "executed_at": stamp()}
    state: dict[str, Any] = {"known": True, "reason": "AMBIGUOUS", "executions": [fill]}
    assert await desk.report(order, "order_state", **state) == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["cum_quantity"], row["overfill"]) == ("filled", 11, True)
    await desk.assert_whole()


async def test_a_late_fill_is_booked_and_flagged_and_completes_the_order(desk: World) -> None:
    await desk.acquire()
    for terminal in ("canceled", "expired", "rejected"):
        order = await desk.submit()
        assert await desk.venue(order, terminal, reason="BECAUSE") == "applied"
        assert await desk.fill(order, "4") == "applied"
        row = await desk.order(order["order_id"])
        assert (row["status"], row["cum_quantity"], row["late_fill"]) == (terminal, 4, True)
        assert row["reason_code"] == "BECAUSE"
        assert await desk.fill(order, "6") == "applied"
        assert await desk.status(order["order_id"]) == "filled"
        assert await desk.venue(order, terminal) == "stale"
    await desk.assert_whole()


async def test_a_refusal_of_what_has_traded_ends_it_as_canceled(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "4")
    assert await desk.venue(order, "rejected", reason="-5") == "applied"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["reason_code"]) == ("canceled", "-5")


async def test_a_fill_of_a_denied_order_is_booked_and_shouted_about(desk: World) -> None:
    await desk.acquire()
    order = await desk.place(quantity=Decimal(1001))
    assert await desk.venue(order, "accepted") == "illegal"
    assert await desk.fill(order, "10") == "illegal"
    row = await desk.order(order["order_id"])
    assert (row["status"], row["cum_quantity"], row["late_fill"]) == ("denied", 10, True)
    assert await _audited(desk, "broker.illegal") == 2


async def test_broken_payloads_are_recorded_as_invalid_and_the_lane_goes_on(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    fill = {"status": "filled", "exec_id": "x", "fill_quantity": "10", "fill_price": "100"}
    bad_fields: dict[str, list[Any]] = {
        "fill_quantity": ["NaN", "-10", "1e1", "Infinity", "1.123456789", " 1", "\u0661", {}],
        "fill_price": ["0", "-1", "NaN", None, [], "9" * 13],
        "fee": ["-0.01", "NaN", "x"],
        "fee_currency": ["usd", "US", ""],
        "exec_id": [None, "", "x" * 201],
        "status": ["done", None],
        "occurred_at": [
            *(None, "now", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "infinity", 7),
        ],
    }
    broken: list[tuple[str, dict[str, Any]]] = [
        *(
            ("order_event", {**fill, name: value})
            for name, values in bad_fields.items()
            for value in values
        ),
        ("order_event", {}),
        ("order_state", {"status": "accepted"}),
        ("order_state", {"known": "yes", "status": "accepted"}),
        ("order_state", {"known": True, "status": "new"}),
        ("order_state", {"known": True, "status": "accepted", "executions": {}}),
        ("order_state", {"known": True, "status": "accepted", "executions": [1]}),
        ("command_rejected", {"command": "PlaceOrder"}),
        ("dance", {}),
    ]
    await desk.put([desk.event(order, kind, **fields) for kind, fields in broken])
    assert await desk.apply_pending() == ["invalid"] * len(broken)
    assert await _audited(desk, "broker.invalid") == len(broken)
    assert (await desk.order(order["order_id"]))["cum_quantity"] == 0
    assert await desk.fill(order, "10") == "applied"
    await desk.assert_whole()


async def test_no_other_isolation_applies_events(desk: World) -> None:
    order = await desk.place()
    await desk.put([desk.event(order, "order_event", status="accepted")])
    inbox_id = await desk.root.fetchval("SELECT inbox_id FROM app.inbox")
    with refused("25001"):
        async with desk.worker.transaction(isolation="serializable"):
            await desk.apply(inbox_id)
    assert await desk.apply_pending() == ["applied"]


async def test_the_state_machine_is_the_one_that_is_documented(desk: World) -> None:
    rows = await desk.root.fetch("SELECT * FROM app.order_transitions")
    moves = {(row["status_before"], row["status_after"]) for row in rows if not row["correction"]}
    corrections = {(row["status_before"], row["status_after"]) for row in rows if row["correction"]}
    assert {before for before, _ in corrections} == {"filled", "partially_filled"}
    terminal = {"denied", "filled", "canceled", "rejected", "expired"}
    assert {move for move in moves if move[0] in terminal} == {
        (status, "filled") for status in ("canceled", "rejected", "expired")
    }
    assert {before for before, after in moves if after == "submitting"} == {"new", "submit_unknown"}
    assert {after for before, after in moves if before == "lost"}.isdisjoint(
        {"new", "denied", "submitting"}
    )
    assert not {move for move in moves if move[1] == "new" or move[0] == move[1]}
