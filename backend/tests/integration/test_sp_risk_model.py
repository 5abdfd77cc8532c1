"""A preview says exactly what placing does, and a batch what single orders do, in any state."""

import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from fixtures_postgres import make_instrument, set_price
from risk_kit import VERDICT, hold, limit, preview
from sp_world import Request, World, desk, item, new_id, place

__all__ = ["desk"]

SYMBOLS = ("AAPL", "MSFT")
SIZES = [*range(1, 12), 40, 90, 150, 400, 600, 1100]
PLACE_BATCH = "SELECT * FROM app.sp_place_batch($1::jsonb) ORDER BY ordinal"


async def random_scene(desk: World, choices: random.Random) -> int:
    """Bring the desk into some state; return a strategy."""
    await make_instrument(desk.migrate, "MSFT", lot_size=Decimal(choices.choice([1, 1, 5])))
    await set_price(desk.migrate, "MSFT", "101")
    strategy: int = await desk.migrate.fetchval(
        "SELECT app.sp_strategy_upsert('system:test', $1, 'one')", desk.account
    )
    for symbol in SYMBOLS:
        await hold(desk, choices.choice([-60, -5, 0, 0, 7, 80]), symbol)
    await limit(
        desk,
        position_quantity_max=Decimal(choices.choice([50, 100, 1000])),
        leverage_max=Decimal(choices.choice(["0.05", "0.2", "2"])),
        open_orders_max=choices.choice([5, 10, 200]),
        orders_per_minute_max=choices.choice([5, 9, 600]),
        daily_loss_max=Decimal(choices.choice([1, 10_000])),
    )
    rate = choices.choice([6, 600])
    await desk.migrate.execute("SELECT app.sp_user_rate_set('t', $1, $2)", desk.trader, rate)
    if choices.random() < 0.3:
        await desk.root.execute("UPDATE app.day_equity SET equity = equity + 100")
    for scope, scope_id in (("global", 0), ("account", desk.account), ("strategy", strategy)):
        worst = "halted" if scope == "strategy" else "reducing"
        state = choices.choices(["active", worst], [5, 1])[0]
        await desk.set_state(scope, scope_id, state)
    if choices.random() < 0.2:
        query = "SELECT app.sp_allow_list_set('t', $1, $2)"
        await desk.migrate.execute(query, desk.account, [choices.choice(SYMBOLS)])
    return strategy


def random_order(desk: World, choices: random.Random, strategy: int) -> Request:
    """Return some order."""
    order_type = choices.choice(["market", "limit", "limit", "stop", "stop_limit"])
    price = Decimal(choices.choice([85, 95, 99, 100, 100, 101, 105, 120]))
    changes: dict[str, Any] = {
        "symbol": choices.choice(SYMBOLS),
        "side": choices.choice(["buy", "sell"]),
        "order_type": order_type,
        "quantity": Decimal(choices.choice(SIZES)),
        "limit_price": price if "limit" in order_type else None,
        "stop_price": price + 1 if "stop" in order_type else None,
        "time_in_force": choices.choice(["day", "day", "day", "gtc", "ioc"]),
        "strategy_id": choices.choice([None, strategy]),
    }
    return desk.request(**changes)


@pytest.mark.parametrize("seed", range(12))
async def test_a_preview_says_what_placing_does(desk: World, seed: int) -> None:
    choices = random.Random(seed)
    strategy = await random_scene(desk, choices)
    seen: set[str | None] = set()
    for _ in range(30):
        request = random_order(desk, choices, strategy)
        said = await preview(desk, request)
        placed = await place(desk.api, request)
        assert [said[name] for name in VERDICT] == [placed[name] for name in VERDICT], request
        seen.add(said["reason_code"])
        largest = said["quantity_max"]
        if largest:
            fits = await preview(desk, replace(request, quantity=largest))
            assert fits["quantity_max"] is None, (request, fits["reason_code"])
    assert len(seen) > 1, "a scene in which everything goes alike proves little"


async def left_behind(desk: World) -> tuple[Any, list[Any]]:
    """Return what open orders of the account bind at most, and the verdict of each order."""
    query = "SELECT open_bound FROM app.streams WHERE stream_id = $1"
    bound = await desk.root.fetchval(query, desk.account)
    query = f"SELECT {', '.join(VERDICT)}, arrival_price FROM app.orders ORDER BY order_id"  # noqa: S608
    return bound, await desk.root.fetch(query)


async def denied_both_ways(desk: World, requests: list[Request]) -> list[str | None]:
    """Place orders one by one and, from the same state, all at once; return why each is denied.

    All is taken back.
    """
    items = [
        {**item(r), "user_id": str(r.user_id), "session": "s", "request_id": "r"} for r in requests
    ]
    transaction = desk.root.transaction()
    await transaction.start()
    await desk.root.execute("SAVEPOINT before")
    single = [
        await place(desk.root, replace(request, client_order_id=new_id())) for request in requests
    ]
    bound, orders = await left_behind(desk)
    await desk.root.execute("ROLLBACK TO before")
    batch = await desk.root.fetch(PLACE_BATCH, json.dumps(items))
    batch_bound, batch_orders = await left_behind(desk)
    await transaction.rollback()
    for one, many in zip(single, batch, strict=True):
        assert [one[name] for name in VERDICT] == [many[name] for name in VERDICT]
    assert batch_orders == orders
    codes = [row["reason_code"] for row in batch]
    if not any(codes):
        assert batch_bound == bound
    return codes


@pytest.mark.parametrize("seed", range(12))
async def test_a_batch_says_what_single_orders_do(desk: World, seed: int) -> None:
    choices = random.Random(1000 + seed)
    strategy = await random_scene(desk, choices)
    await denied_both_ways(desk, [random_order(desk, choices, strategy) for _ in range(30)])


@pytest.mark.parametrize("seed", range(6))
async def test_a_batch_of_orders_that_are_alike_says_so_too(desk: World, seed: int) -> None:
    choices = random.Random(2000 + seed)
    strategy = await random_scene(desk, choices)
    for scope, scope_id in (("global", 0), ("account", desk.account), ("strategy", strategy)):
        await desk.set_state(scope, scope_id, "active")
    await desk.root.execute("DELETE FROM app.account_instruments")
    denied: set[int] = set()
    for _ in range(60):
        await limit(
            desk,
            position_quantity_max=Decimal(choices.choice([100, 1000, 100_000])),
            leverage_max=Decimal(choices.choice(["0.02", "0.05", "0.1", "0.2", "2"])),
            open_orders_max=choices.choice([5, 10, 200]),
            orders_per_minute_max=choices.choice([6, 600, 600]),
            daily_loss_max=Decimal(10_000),
        )
        rate = choices.choice([6, 600])
        await desk.migrate.execute("SELECT app.sp_user_rate_set('t', $1, $2)", desk.trader, rate)
        kinds = [random_order(desk, choices, strategy) for _ in range(choices.choice([1, 1, 2]))]
        if kinds[0].limit_price:
            kinds.append(replace(kinds[0], limit_price=kinds[0].limit_price + 1))
        requests = [
            replace(choices.choice(kinds), client_order_id=new_id())
            for _ in range(choices.choice([2, 4, 8]))
        ]
        codes = await denied_both_ways(desk, requests)
        denied.add(2 * sum(code is not None for code in codes) // len(codes))
    assert denied == {0, 1, 2}, "some pass whole, some in part, some not at all"
