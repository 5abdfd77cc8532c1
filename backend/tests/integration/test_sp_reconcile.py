"""A broker's report that differs, three times in a row, is a break; silence and rubbish are not."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from fixtures_postgres import make_user
from sp_world import World, desk, new_id, refused

__all__ = ["desk"]

RESOLVE = "SELECT app.sp_admin_resolve_break($1, 'session', 'request', $2, $3)"


async def _reconcile(desk: World) -> list[dict[str, Any]]:
    rows = await desk.worker.fetch("SELECT one::text FROM app.sp_reconcile() AS one")
    return [json.loads(row["one"]) for row in rows]


async def _report(desk: World, positions: Any, cash: Any = (), **more: Any) -> None:
    """Report as the account's bridge, to which everything so far is old."""
    await desk.root.execute("ALTER TABLE app.executions DISABLE TRIGGER executions_append_only")
    await desk.root.execute("UPDATE app.executions SET recorded_at = recorded_at - interval '1 m'")
    await desk.root.execute("ALTER TABLE app.executions ENABLE TRIGGER executions_append_only")
    beat = {"positions": positions, "cash": cash, "last_sequence": desk.sequence, **more}
    await desk.api.fetchval(
        "SELECT app.sp_inbox_put($1, 'L-1', 1, '[]'::jsonb, $2::jsonb)",
        await desk.source(desk.account),
        json.dumps(beat),
    )


async def _state(desk: World) -> str | None:
    return await desk.root.fetchval(
        "SELECT state FROM app.trading_states WHERE (scope, scope_id) = ('account', $1)",
        desk.account,
    )


async def _breaks(desk: World) -> list[tuple[str, str, str]]:
    rows = await desk.root.fetch("SELECT * FROM app.recon_breaks ORDER BY break_id")
    return [(row["figure"], row["subject"], row["state"]) for row in rows]


async def _audited(desk: World, action: str) -> int:
    query = "SELECT count(*) FROM audit.audit_log WHERE action = $1 AND stream_id = $2"
    return int(await desk.root.fetchval(query, action, desk.account))


@pytest.fixture
async def cash(desk: World) -> list[dict[str, str]]:
    """The account after a fill of ten at 100, and the cash a broker would report."""
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "10", status="filled", exec_id=new_id(), fee="1.00")
    amounts = await desk.root.fetch(
        "SELECT currency, amount FROM app.cash_balances WHERE account_id = $1", desk.account
    )
    return [{"currency": row["currency"], "amount": str(row["amount"])} for row in amounts]


TEN = [{"symbol": "AAPL", "quantity": "10", "average_price": "100"}]
NINE = [{"symbol": "AAPL", "quantity": "9", "average_price": "100"}]


async def test_books_that_agree_have_no_break(desk: World, cash: Any) -> None:
    for _ in range(4):
        await _report(desk, TEN, cash)
        assert await _reconcile(desk) == []
    assert await _breaks(desk) == []
    assert await _state(desk) is None


async def test_three_reports_in_a_row_open_a_break_and_the_account_may_only_reduce(
    desk: World, cash: Any
) -> None:
    for turn in range(3):
        assert await _state(desk) is None, turn
        await _report(desk, NINE, cash)
        found = await _reconcile(desk)
        # The same report read again is the same witness.
        assert await _reconcile(desk) == []
    assert [(one["figure"], one["subject"], one["ours"], one["theirs"]) for one in found] == [
        ("position", "AAPL", 10, 9)
    ]
    assert await _state(desk) == "reducing"
    assert (await _audited(desk, "recon.break"), await _audited(desk, "trading_state.set")) == (
        1,
        1,
    )
    denied = await desk.place()
    assert denied["status"] == "denied"
    position = await desk.root.fetchval(
        "SELECT quantity FROM app.positions WHERE account_id = $1", desk.account
    )
    assert position == 10, "nothing is put right by itself"
    assert await desk.outbox() == [], "nothing trades by itself"
    await desk.assert_whole()


async def test_a_difference_that_goes_away_in_time_was_none(desk: World, cash: Any) -> None:
    for positions in (NINE, NINE, TEN, NINE, NINE, TEN):
        await _report(desk, positions, cash)
        assert await _reconcile(desk) == []
    assert await _breaks(desk) == []


@pytest.mark.parametrize(
    "beat",
    [
        {"positions": None},
        {"positions": "[]"},
        {"positions": [{"symbol": "AAPL", "quantity": "NaN"}]},
        {"positions": [{"symbol": "AAPL", "quantity": "1e3"}]},
        {"positions": [{"symbol": "AAPL"}]},
        {"positions": [{"quantity": "10"}]},
        {"positions": [7]},
        {"cash": None},
        {"cash": [{"currency": "USD", "amount": "Infinity"}]},
        {"last_sequence": None},
        {"last_sequence": "-1"},
        {"last_sequence": 1_000_000},
    ],
    ids=str,
)
async def test_a_report_that_cannot_be_read_or_knows_more_than_we_is_not_flat(
    desk: World, cash: Any, beat: dict[str, Any]
) -> None:
    for _ in range(4):
        fields = {"positions": [], "cash": cash, **beat}
        await _report(desk, fields.pop("positions"), fields.pop("cash"), **fields)
        assert await _reconcile(desk) == []
    assert await _breaks(desk) == []
    assert await _state(desk) is None


async def test_an_old_report_and_one_with_events_not_yet_applied_do_not_count(
    desk: World, cash: Any
) -> None:
    await _report(desk, NINE, cash)
    await desk.root.execute("UPDATE app.bridges SET heartbeat_at = now() - interval '3 min'")
    assert await _reconcile(desk) == []
    waiting = await desk.submit(quantity=Decimal(1))
    await desk.put([desk.event(waiting, "order_event", status="accepted")])
    await _report(desk, NINE, cash)
    assert await _reconcile(desk) == []
    assert await _breaks(desk) == []


async def test_a_fill_just_booked_makes_the_report_wait(desk: World, cash: Any) -> None:
    order = await desk.submit(quantity=Decimal(1))
    await _report(desk, TEN, cash)
    await desk.fill(order, "1", status="filled", exec_id=new_id())
    assert await _reconcile(desk) == []
    assert await _breaks(desk) == []


async def test_cash_may_differ_by_a_cent_and_no_more(desk: World, cash: Any) -> None:
    off = [{"currency": one["currency"], "amount": str(Decimal(one["amount"]) + 1)} for one in cash]
    near = [
        {"currency": one["currency"], "amount": str(Decimal(one["amount"]) - Decimal("0.01"))}
        for one in cash
    ]
    for _ in range(3):
        await _report(desk, TEN, near)
        await _reconcile(desk)
    assert await _breaks(desk) == []
    for _ in range(3):
        await _report(desk, TEN, off)
        await _reconcile(desk)
    assert await _breaks(desk) == [("cash", "USD", "open")]


async def test_an_open_break_that_agrees_again_is_mended_and_the_account_stays_reducing(
    desk: World, cash: Any
) -> None:
    for _ in range(3):
        await _report(desk, NINE, cash)
        await _reconcile(desk)
    await _report(desk, TEN, cash)
    (mended,) = await _reconcile(desk)
    assert mended["state"] == "mended"
    assert await _audited(desk, "recon.mended") == 1
    assert await _state(desk) == "reducing"


async def test_a_stricter_switch_is_left_alone(desk: World, cash: Any) -> None:
    await desk.set_state("account", desk.account, "halted")
    for _ in range(3):
        await _report(desk, NINE, cash)
        await _reconcile(desk)
    assert await _state(desk) == "halted"


async def test_an_administrator_resolves_an_open_break_once_and_it_is_seen_anew_if_it_lasts(
    desk: World, cash: Any
) -> None:
    admin = await make_user(desk.migrate, role="admin")
    await _report(desk, NINE, cash)
    await _reconcile(desk)
    break_id = await desk.root.fetchval("SELECT break_id FROM app.recon_breaks")
    with refused("IN409", "break_not_open"):
        await desk.api.execute(RESOLVE, admin, break_id, "too early")
    for _ in range(2):
        await _report(desk, NINE, cash)
        await _reconcile(desk)
    with refused("IN403", "role_not_allowed"):
        await desk.api.execute(RESOLVE, desk.trader, break_id, "not mine")
    with refused("IN404", "break_not_found"):
        await desk.api.execute(RESOLVE, admin, 999, "what")
    with refused("IN422", "reason_invalid"):
        await desk.api.execute(RESOLVE, admin, break_id, "")
    for _ in range(2):
        await desk.api.execute(RESOLVE, admin, break_id, "a share was assigned")
    assert await _audited(desk, "recon.resolve") == 1
    assert await _breaks(desk) == [("position", "AAPL", "resolved")]
    await _report(desk, NINE, cash)
    await _reconcile(desk)
    assert (await _breaks(desk))[1:] == [("position", "AAPL", "suspected")]
    await desk.assert_whole()
