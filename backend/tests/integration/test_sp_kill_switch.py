"""The kill switch: nothing new is taken or sent, and what is open is owed a cancel at once."""

import asyncio
from decimal import Decimal

import pytest
from fixtures_postgres import make_user
from sp_calls import audited, code_of
from sp_world import World, desk, place, place_many

__all__ = ["desk"]

SET_STATE = "SELECT app.sp_trading_state_set($1, 's', 'req', $2, $3, $4, 'because', $5)"
FORCE = "SELECT app.sp_trading_state_force('operator:ann', $1, $2, $3, 'because', $4)"
CANCELED = "trading_state.cancel_open"


async def switch(desk: World, scope: str, scope_id: int, state: str = "halted") -> None:
    """Set a state from the command line and cancel what is open."""
    assert await desk.migrate.fetchval(FORCE, scope, scope_id, state, True) == state


async def test_everything_open_anywhere_is_canceled_and_nothing_new_is_taken(desk: World) -> None:
    await desk.acquire()
    working = await desk.submit()
    await desk.venue(working, "accepted")
    unsent = await desk.place()
    theirs = await desk.place(account_id=desk.other)
    await switch(desk, "global", 0)
    assert await desk.status(working["order_id"]) == "pending_cancel"
    assert await desk.status(unsent["order_id"]) == "canceled"
    assert await desk.status(theirs["order_id"]) == "canceled"
    assert (await desk.order(unsent["order_id"]))["reason_code"] == "TRADING_HALTED"
    (owed,) = await desk.outbox()
    assert (owed["kind"], owed["order_id"]) == ("order.cancel.v1", working["order_id"])
    assert (await desk.place())["reason_code"] == "TRADING_HALTED"
    (send,) = await desk.begin()
    assert send["action"] == "cancel", "cancels leave while all else stands still"
    assert (await audited(desk.database, 0))[-1] == "trading_state.set"
    for account in (desk.account, desk.other):
        assert CANCELED in await audited(desk.database, account)
    await desk.assert_whole()


async def test_an_account_and_a_strategy_are_stopped_alone(desk: World) -> None:
    strategy = await desk.migrate.fetchval(
        "SELECT app.sp_strategy_upsert('t', $1, 'one')", desk.account
    )
    bound = await desk.place(strategy_id=strategy)
    free = await desk.place()
    theirs = await desk.place(account_id=desk.other)
    await switch(desk, "strategy", strategy)
    orders = [bound, free, theirs]
    assert [await desk.status(o["order_id"]) for o in orders] == ["canceled", "new", "new"]
    await switch(desk, "account", desk.account, "reducing")
    assert [await desk.status(o["order_id"]) for o in orders] == ["canceled", "canceled", "new"]
    assert (await desk.order(free["order_id"]))["reason_code"] == "TRADING_REDUCING"
    await desk.assert_whole()


async def test_what_was_placed_before_the_switch_is_not_sent_after_it(desk: World) -> None:
    order = await desk.place()
    await desk.acquire()
    assert await desk.migrate.fetchval(FORCE, "global", 0, "halted", False) == "halted"
    assert await desk.status(order["order_id"]) == "new", "nobody asked to cancel"
    assert await desk.begin() == []
    row = await desk.order(order["order_id"])
    assert (row["status"], row["reason_code"]) == ("canceled", "TRADING_HALTED")


async def test_an_order_that_is_being_placed_is_waited_for_and_canceled(desk: World) -> None:
    slow = await desk.database.connect("app_write")
    async with slow.transaction():
        order = await place(slow, desk.request())
        switching = asyncio.create_task(switch(desk, "global", 0))
        await desk.until_blocked()
    await switching
    assert await desk.status(order["order_id"]) == "canceled"


async def test_an_order_that_waits_for_the_switch_is_denied(desk: World) -> None:
    async with desk.migrate.transaction():
        await switch(desk, "global", 0)
        waiting = asyncio.create_task(desk.place())
        await desk.until_blocked()
    assert (await waiting)["reason_code"] == "TRADING_HALTED"


async def test_the_switch_again_cancels_what_is_open_again_and_tells_no_more(desk: World) -> None:
    await desk.place()
    for _ in range(2):
        await switch(desk, "account", desk.account)
    actions = await audited(desk.database, desk.account)
    assert (actions.count("trading_state.set"), actions.count(CANCELED)) == (1, 1)


async def test_a_trader_stops_and_cancels_where_he_may_trade(desk: World) -> None:
    order = await desk.place()
    state = await desk.api.fetchval(SET_STATE, desk.trader, "account", desk.account, "halted", True)
    assert (state, await desk.status(order["order_id"])) == ("halted", "canceled")
    refusal = await code_of(
        desk.api, SET_STATE, desk.stranger, "account", desk.account, "halted", True
    )
    assert refusal == ("IN404", "account_not_found")


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("account", 999, "halted", True), ("IN404", "account_not_found")),
        (("strategy", 999, "halted", False), ("IN404", "strategy_not_found")),
        (("desk", 0, "halted", False), ("IN422", "scope_invalid")),
        (("global", 1, "halted", False), ("IN422", "scope_invalid")),
        (("global", None, "halted", False), ("IN422", "scope_invalid")),
        (("global", 0, "asleep", False), ("IN422", "state_invalid")),
        (("global", 0, None, False), ("IN422", "state_invalid")),
        (("global", 0, "active", True), ("IN422", "cancel_open_invalid")),
        (("global", 0, "halted", None), ("IN422", "cancel_open_invalid")),
    ],
)
async def test_a_switch_that_makes_no_sense_is_refused(
    desk: World, arguments: tuple[object, ...], refusal: tuple[str, str]
) -> None:
    assert await code_of(desk.migrate, FORCE, *arguments) == refusal
    admin = await make_user(desk.migrate, "admin")
    assert await code_of(desk.api, SET_STATE, admin, *arguments) == refusal


async def test_five_hundred_orders_are_canceled_in_one_go(desk: World) -> None:
    query = "SELECT app.sp_risk_limits_set('t', $1, 1000, 50000, 0.1, NULL, 1000, 1000)"
    await desk.migrate.execute(query, desk.account)
    await place_many(desk.api, [desk.request(quantity=Decimal(1)) for _ in range(500)])
    await switch(desk, "global", 0)
    query = "SELECT count(*) FROM app.orders WHERE status = 'canceled'"
    assert await desk.root.fetchval(query) == 500
    await desk.assert_whole()
