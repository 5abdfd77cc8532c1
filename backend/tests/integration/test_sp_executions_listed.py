"""A venue's list of executions: what is missing is applied once, what contradicts is a break."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sp_world import World, desk, new_id, refused

__all__ = ["desk"]


def _fill(order: Any, **changes: Any) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    name = None if order is None else order["client_order_id"]
    fill = {"exec_id": new_id(), "client_order_id": name, "broker_order_id": "B-1"}
    fill |= {"quantity": "10", "price": "100", "fee": "1", "fee_currency": "USD"}
    return {**fill, "executed_at": at, **changes}


async def _list(desk: World, *fills: Any, source: str | None = None) -> int:
    query = "SELECT app.sp_executions_listed($1, $2::jsonb)"
    source = source or await desk.source(desk.account)
    return int(await desk.worker.fetchval(query, source, json.dumps(fills)))


async def _age(desk: World, minutes: int) -> None:
    await desk.root.execute("ALTER TABLE app.executions DISABLE TRIGGER executions_append_only")
    query = "UPDATE app.executions SET recorded_at = recorded_at - $1::interval"
    await desk.root.execute(query, timedelta(minutes=minutes))
    await desk.root.execute("ALTER TABLE app.executions ENABLE TRIGGER executions_append_only")


async def _breaks(desk: World) -> list[tuple[str, str, int, int, str]]:
    rows = await desk.root.fetch("SELECT * FROM app.recon_breaks ORDER BY break_id")
    return [(r["figure"], r["subject"], int(r["ours"]), int(r["theirs"]), r["state"]) for r in rows]


async def _account_state(desk: World) -> str | None:
    query = "SELECT state FROM app.trading_states WHERE (scope, scope_id) = ('account', $1)"
    return await desk.root.fetchval(query, desk.account)


@pytest.fixture
async def order(desk: World) -> Any:
    """An order that works at the venue."""
    await desk.acquire()
    order = await desk.submit(quantity=10)
    await desk.venue(order, "accepted")
    return order


async def test_a_missing_fill_is_applied_once_and_fills_its_order(desk: World, order: Any) -> None:
    fill = _fill(order)
    assert await _list(desk, fill, fill) == 1
    assert await _list(desk, fill) == 0, "it is on its way"
    assert await desk.apply_pending() == ["applied"]
    assert await _list(desk, fill) == 0
    assert await desk.status(order["order_id"]) == "filled"
    assert await _breaks(desk) == []
    await desk.assert_whole()


async def test_a_fill_without_a_name_is_known_by_the_brokers_id(desk: World, order: Any) -> None:
    assert await _list(desk, _fill(None, client_order_id="")) == 1
    assert await desk.apply_pending() == ["applied"]
    assert await desk.status(order["order_id"]) == "filled"


async def test_a_fill_of_no_order_of_ours_is_a_break_until_somebody_looked(desk: World) -> None:
    fill = _fill(None, client_order_id="of-nobody", broker_order_id="B-9")
    assert await _list(desk, fill) == 1
    assert await desk.apply_pending() == ["unmatched"]
    assert await _breaks(desk) == [("execution", fill["exec_id"], 0, 1000, "open")]
    assert await _account_state(desk) == "reducing"
    await desk.worker.fetch("SELECT app.sp_reconcile()")
    assert (await _breaks(desk))[0][4] == "open", "no report of positions ends it"
    await desk.root.execute(
        "UPDATE app.recon_breaks SET state = 'resolved', ended_at = now(), resolved_by = 'x',"
        " reason = 'x'"
    )
    assert await _list(desk, fill) == 0
    assert len(await _breaks(desk)) == 1


async def test_a_list_that_contradicts_is_a_break_only_when_it_cannot_be_old(
    desk: World, order: Any
) -> None:
    await desk.fill(order, "10", exec_id="E-1")
    other = _fill(order, exec_id="E-1", price="100.5")
    assert await _list(desk, other) == 0
    assert await _breaks(desk) == []
    await _age(desk, 16)
    assert [await _list(desk, other) for _ in range(2)] == [0, 0]
    assert await _breaks(desk) == [("execution", "E-1", 1000, 1005, "open")]
    # The correction arrives after all.
    correction = {"exec_id": "E-1", "exec_revision": 1, "price": "100.5"}
    assert await desk.fill(order, "10", **correction) == "applied"
    await desk.put([])
    await _age(desk, 1)
    query = "UPDATE app.bridges SET heartbeat = $1::jsonb, heartbeat_at = clock_timestamp()"
    beat = {"positions": [], "cash": [], "last_sequence": 0}
    await desk.root.execute(query, json.dumps(beat))
    await desk.worker.fetch("SELECT app.sp_reconcile()")
    assert ("execution", "E-1", 1000, 1005, "mended") in await _breaks(desk)


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": "NaN"},
        {"quantity": "-1"},
        {"price": "0"},
        {"price": None},
        {"exec_id": ""},
        {"executed_at": "yesterday"},
        {"fee": "-1e9999"},
        {"fee_currency": "dollars"},
        {"exec_id": "x" * 201},
    ],
    ids=str,
)
async def test_what_cannot_be_read_is_left_out_beside_what_can(
    desk: World, order: Any, changes: dict[str, Any]
) -> None:
    assert await _list(desk, _fill(order, **changes), _fill(order), 7, None, []) == 1
    assert await desk.apply_pending() == ["applied"]


async def test_a_fill_of_this_moment_is_left_to_its_report(desk: World, order: Any) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert await _list(desk, _fill(order, executed_at=now)) == 0


async def test_lists_of_strangers_and_rubbish_are_refused(desk: World) -> None:
    with refused("IN404", "source_unknown"):
        await _list(desk, source="qc:999999")
    query = "SELECT app.sp_executions_listed($1, $2::jsonb)"
    for rubbish in ("{}", "null", json.dumps([0] * 5001)):
        with refused("IN422", "fills_invalid"):
            await desk.worker.fetchval(query, await desk.source(desk.account), rubbish)
