"""No hand writes an order or an execution whose columns contradict each other, not even ours."""

import json
from typing import Any

import asyncpg
import pytest
from sp_world import World, desk, new_id

__all__ = ["desk"]

ORDERS: list[dict[str, Any]] = [
    {"cum_quantity": -1},
    {"cum_quantity": 11},
    {"created_by": None},
    {"origin": "external"},
    {"limit_price": None},
    {"order_type": "market"},
    {"order_type": "stop"},
    {"order_type": "stop_limit"},
    {"stop_price": 99},
    {"time_in_force": "gtd"},
    {"expires_at": "2026-01-02T00:00:00Z"},
    {"status": "denied"},
    {"status": "rejected"},
    {"status": "unheard of"},
    {"quantity": "NaN"},
    {"limit_price": 0},
]
EXECUTIONS: list[dict[str, Any]] = [
    {"exec_revision": -1},
    {"fee_revision": -1},
    {"kind": "gift"},
    {"kind": "bust"},
    {"corrects": 1},
    {"side": "both"},
    {"quantity": 0},
    {"quantity": "NaN"},
    {"price": 0},
    {"price": "Infinity"},
    {"fee": -1},
    {"fee": "NaN"},
    {"fee": None},
    {"fee_currency": None},
]


async def _copy(desk: World, table: str, **changes: Any) -> None:
    """Write the one row of a table once more, changed."""
    changed = f"SELECT (jsonb_populate_record(t, $1::jsonb)).* FROM app.{table} AS t"  # noqa: S608
    await desk.root.execute(
        f"INSERT INTO app.{table} OVERRIDING SYSTEM VALUE {changed}", json.dumps(changes)
    )


@pytest.mark.parametrize("broken", ORDERS, ids=str)
async def test_an_order_is_whole(desk: World, broken: dict[str, Any]) -> None:
    await desk.place()
    with pytest.raises(asyncpg.CheckViolationError):
        await _copy(desk, "orders", order_id=2, client_order_id=new_id(), **broken)
    ((name, value),) = broken.items()
    word = "NULL" if value is None else f"'{value}'"
    with pytest.raises(asyncpg.CheckViolationError):
        await desk.root.execute(f"UPDATE app.orders SET {name} = {word}")  # noqa: S608


async def test_what_is_no_contradiction_is_written(desk: World) -> None:
    await desk.place()
    await _copy(
        desk, "orders", order_id=2, client_order_id=new_id(), cum_quantity=11, overfill=True
    )
    await desk.root.execute("UPDATE app.orders SET status = 'rejected', reason_code = 'NO'")


@pytest.mark.parametrize("broken", EXECUTIONS, ids=str)
async def test_an_execution_is_whole(desk: World, broken: dict[str, Any]) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.fill(order, "5")
    with pytest.raises(asyncpg.CheckViolationError):
        await _copy(desk, "executions", execution_id=2, exec_base="another", **broken)
    await _copy(desk, "executions", execution_id=2, exec_base="another")
