"""Racing orders share a limit exactly: as many pass as fit, whoever comes first."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from risk_kit import limit
from sp_world import Request, World, desk, place, refused

__all__ = ["desk"]


async def _leave_as_it_is(_: object) -> None:
    return


async def race(desk: World, requests: Sequence[Request]) -> Counter[str | None]:
    """Place orders on 20 connections at once; count what became of them."""
    async with await asyncpg.create_pool(
        desk.database.dsn("app_write"), min_size=20, max_size=20, reset=_leave_as_it_is
    ) as pool:
        placed = await asyncio.gather(*(place(pool, request) for request in requests))
    return Counter(order["reason_code"] for order in placed)


SIXTY_PERCENT: list[tuple[dict[str, Any], str]] = [
    ({"position_quantity_max": Decimal(100)}, "POSITION_EXCEEDS_MAX"),
    ({"leverage_max": Decimal("0.1")}, "BUYING_POWER_EXCEEDED"),
    ({"open_orders_max": 1}, "OPEN_ORDERS_EXCEED_MAX"),
]


@pytest.mark.parametrize(("limits", "code"), SIXTY_PERCENT)
async def test_100_racing_orders_of_60_percent_of_a_limit_let_exactly_one_through(
    desk: World, limits: dict[str, Any], code: str
) -> None:
    await limit(desk, **limits)
    requests = [desk.request(quantity=Decimal(60)) for _ in range(100)]
    assert await race(desk, requests) == {None: 1, code: 99}
    assert len(await desk.outbox()) == 1
    await desk.assert_whole()


async def test_50_parallel_orders_meet_the_rate_of_their_account(desk: World) -> None:
    await limit(desk, orders_per_minute_max=10)
    counted = await race(desk, [desk.request() for _ in range(50)])
    assert counted == {None: 10, "ORDER_RATE_EXCEEDED": 40}


async def test_50_parallel_orders_on_two_accounts_meet_the_rate_of_their_user(
    desk: World,
) -> None:
    await desk.migrate.execute("SELECT app.sp_user_rate_set('t', $1, 10)", desk.trader)
    accounts = (desk.account, desk.other)
    counted = await race(desk, [desk.request(account_id=accounts[n % 2]) for n in range(50)])
    assert counted == {None: 10, "USER_ORDER_RATE_EXCEEDED": 40}
    await desk.assert_whole()


async def test_the_rules_need_read_committed(desk: World) -> None:
    for isolation in ("repeatable_read", "serializable"):
        async with desk.api.transaction(isolation=isolation):
            with refused("25001"):
                await desk.place()


async def test_limits_that_change_bind_the_orders_that_wait(desk: World) -> None:
    async with desk.migrate.transaction():
        await limit(desk, position_quantity_max=Decimal(5))
        waiting = asyncio.create_task(desk.place(quantity=Decimal(10)))
        await desk.until_blocked()
    assert (await waiting)["reason_code"] == "POSITION_EXCEEDS_MAX"
