"""Each risk rule at its edge: what just passes, what is just denied, and what is exempt."""

import re
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import make_instrument, set_price
from risk_kit import VERDICT, hold, limit, preview, verdict
from sp_world import World, desk, place_many

from app.services.database_setup import REPOSITORY_DIR

__all__ = ["desk"]

CODES = "SELECT code FROM app.denial_codes"
SELL = {"side": "sell"}


async def allow(desk: World, *symbols: str) -> None:
    """Set what the account may trade."""
    query = "SELECT app.sp_allow_list_set('system:test', $1, $2)"
    await desk.migrate.execute(query, desk.account, list(symbols))


async def position_of_40(desk: World) -> None:
    await limit(desk, position_quantity_max=Decimal(40))


async def long_10_and_an_open_order_of_5(desk: World) -> None:
    await position_of_40(desk)
    await hold(desk, 10)
    await desk.place(quantity=Decimal(5))
    await desk.place(quantity=Decimal(3), side="sell")


async def short_10(desk: World) -> None:
    await position_of_40(desk)
    await hold(desk, -10)


async def cash_of_30_000(desk: World) -> None:
    await limit(desk, leverage_max=Decimal("0.3"))


async def power_bound_by_an_order(desk: World) -> None:
    await cash_of_30_000(desk)
    await desk.place(quantity=Decimal(100), limit_price=Decimal(90))


async def power_bound_by_positions(desk: World) -> None:
    await make_instrument(desk.migrate, "MSFT")
    await set_price(desk.migrate, "MSFT", "50")
    await cash_of_30_000(desk)
    await hold(desk, 100)
    await hold(desk, -20, "MSFT", 50)


async def as_it_is(_: World) -> None:
    return


async def reducing(desk: World) -> None:
    await hold(desk, 10)
    await desk.set_state("global", 0, "reducing")


SIZES: list[tuple[Any, dict[str, Any], int, str]] = [
    (as_it_is, {}, 500, "ORDER_NOTIONAL_EXCEEDS_MAX"),
    (as_it_is, {"limit_price": Decimal(95)}, 526, "ORDER_NOTIONAL_EXCEEDS_MAX"),
    (position_of_40, {}, 40, "POSITION_EXCEEDS_MAX"),
    (position_of_40, SELL, 40, "POSITION_EXCEEDS_MAX"),
    (long_10_and_an_open_order_of_5, {}, 25, "POSITION_EXCEEDS_MAX"),
    (long_10_and_an_open_order_of_5, SELL, 47, "POSITION_EXCEEDS_MAX"),
    (short_10, {}, 50, "POSITION_EXCEEDS_MAX"),
    (short_10, SELL, 30, "POSITION_EXCEEDS_MAX"),
    (cash_of_30_000, {}, 300, "BUYING_POWER_EXCEEDED"),
    (cash_of_30_000, {"order_type": "market", "limit_price": None}, 300, "BUYING_POWER_EXCEEDED"),
    (cash_of_30_000, {**SELL, "limit_price": Decimal(110)}, 272, "BUYING_POWER_EXCEEDED"),
    (power_bound_by_an_order, {}, 210, "BUYING_POWER_EXCEEDED"),
    # Equity 109,000 * 0.3 less 10,000 long and 1,000 short leaves 21,700.
    (power_bound_by_positions, {}, 217, "BUYING_POWER_EXCEEDED"),
    (power_bound_by_positions, SELL, 317, "BUYING_POWER_EXCEEDED"),
    (reducing, SELL, 10, "TRADING_REDUCING"),
]


@pytest.mark.parametrize(("scene", "changes", "largest", "code"), SIZES)
async def test_the_largest_size_passes_and_one_lot_more_is_denied(
    desk: World, scene: Any, changes: dict[str, Any], largest: int, code: str
) -> None:
    await scene(desk)
    denied = await verdict(desk, **{**changes, "quantity": Decimal(largest + 1)})
    assert denied == (code, largest)
    assert await verdict(desk, **{**changes, "quantity": Decimal(largest)}) == (None, None)


async def test_the_largest_size_keeps_to_the_lots(desk: World) -> None:
    await make_instrument(desk.migrate, "AAPL", lot_size=Decimal("0.3"))
    await limit(desk, position_quantity_max=Decimal(10))
    denied = await verdict(desk, quantity=Decimal("10.2"))
    assert denied == ("POSITION_EXCEEDS_MAX", Decimal("9.9"))
    assert await verdict(desk, quantity=Decimal("9.9")) == (None, None)


async def test_what_only_closes_passes_however_little_power_is_left(desk: World) -> None:
    await hold(desk, 50)
    await limit(desk, position_quantity_max=Decimal(20), leverage_max=Decimal("0.01"))
    assert await verdict(desk, quantity=Decimal(1)) == ("POSITION_EXCEEDS_MAX", 0)
    await limit(desk, position_quantity_max=Decimal(200))
    assert await verdict(desk, quantity=Decimal(1)) == ("BUYING_POWER_EXCEEDED", 0)
    assert await verdict(desk, **SELL, quantity=Decimal(51)) == ("BUYING_POWER_EXCEEDED", 50)
    assert await verdict(desk, **SELL, quantity=Decimal(30)) == (None, None)
    assert await verdict(desk, **SELL, quantity=Decimal(21)) == ("BUYING_POWER_EXCEEDED", 20)
    assert await verdict(desk, **SELL, quantity=Decimal(20)) == (None, None)


async def test_the_loss_of_the_day_stops_what_opens_and_lets_out(desk: World) -> None:
    await hold(desk, 100)
    await limit(desk, daily_loss_max=Decimal(1000))
    await set_price(desk.migrate, "AAPL", "90.01")
    at = {"limit_price": Decimal(90)}
    assert await verdict(desk, **at, quantity=Decimal(1)) == (None, None)
    await set_price(desk.migrate, "AAPL", "90")
    assert await verdict(desk, **at, quantity=Decimal(1)) == ("DAILY_LOSS_EXCEEDED", 0)
    assert await verdict(desk, **at, **SELL, quantity=Decimal(101)) == ("DAILY_LOSS_EXCEEDED", 100)
    assert await verdict(desk, **at, **SELL, quantity=Decimal(100)) == (None, None)
    await desk.migrate.execute(
        "SELECT app.sp_cash_book('system:test', $1, 'USD', 5000, 'deposit', 'more')", desk.account
    )
    assert await verdict(desk, **at, quantity=Decimal(1)) == ("DAILY_LOSS_EXCEEDED", 0)


async def test_the_day_begins_with_its_first_sample(desk: World) -> None:
    await hold(desk, 100)
    await limit(desk, daily_loss_max=Decimal(1000))
    await set_price(desk.migrate, "AAPL", "90")
    order = {"limit_price": Decimal(90), "quantity": Decimal(1)}
    await desk.worker.execute("SELECT app.sp_equity_sample()")
    assert await verdict(desk, **order) == ("DAILY_LOSS_EXCEEDED", 0), "the day had begun"
    await desk.root.execute("UPDATE app.day_equity SET day = day - 1")
    assert await verdict(desk, **order) == ("DAILY_LOSS_EXCEEDED", 0), "no sample of today yet"
    await desk.worker.execute("SELECT app.sp_equity_sample()")
    assert await verdict(desk, **order) == (None, None)
    base = await desk.root.fetchval(
        "SELECT equity FROM app.day_equity WHERE account_id = $1", desk.account
    )
    assert base == Decimal(109_000)


async def test_a_position_without_any_price_denies_what_opens(desk: World) -> None:
    await make_instrument(desk.migrate, "MSFT")
    await hold(desk, 5, "MSFT")
    await hold(desk, 5)
    assert await verdict(desk, quantity=Decimal(1)) == ("NO_MARKET_PRICE", None)
    assert await verdict(desk, **SELL, quantity=Decimal(5)) == (None, None)
    await set_price(desk.migrate, "MSFT", "100")
    assert await verdict(desk, quantity=Decimal(1)) == (None, None)


async def test_an_allow_list_lets_pass_what_it_names_and_an_empty_one_everything(
    desk: World,
) -> None:
    await make_instrument(desk.migrate, "MSFT")
    await allow(desk, "MSFT")
    assert (await desk.place())["reason_code"] == "INSTRUMENT_NOT_ALLOWED"
    assert (await desk.place(account_id=desk.other))["reason_code"] is None
    await allow(desk, "MSFT", "AAPL")
    assert (await desk.place())["reason_code"] is None
    await allow(desk)
    assert (await desk.place())["reason_code"] is None


async def test_as_many_orders_are_open_as_may_be(desk: World) -> None:
    await limit(desk, open_orders_max=2)
    first = await desk.place()
    assert [(await desk.place())["reason_code"] for _ in range(2)] == [
        *(None, "OPEN_ORDERS_EXCEED_MAX")
    ]
    await desk.cancel(first["order_id"])
    assert (await desk.place())["reason_code"] is None


async def test_the_rate_of_an_account_lets_a_minute_s_orders_pass_at_once_and_then_one_by_one(
    desk: World,
) -> None:
    await limit(desk, orders_per_minute_max=3)
    denied = await desk.place(quantity=Decimal(1001))
    assert denied["reason_code"] == "ORDER_QUANTITY_EXCEEDS_MAX", "which does not count"
    codes = [(await desk.place())["reason_code"] for _ in range(4)]
    assert codes == [None, None, None, "ORDER_RATE_EXCEEDED"]
    assert (await desk.place(account_id=desk.other))["reason_code"] is None
    await desk.root.execute("UPDATE app.streams SET rate_at = rate_at - interval '20 s'")
    codes = [(await desk.place())["reason_code"] for _ in range(2)]
    assert codes == [None, "ORDER_RATE_EXCEEDED"]


async def test_the_rate_of_a_user_counts_over_his_accounts(desk: World) -> None:
    set_rate = "SELECT app.sp_user_rate_set('system:test', $1, 3)"
    await desk.migrate.execute(set_rate, desk.trader)
    accounts = (desk.account, desk.other, desk.account, desk.other)
    codes = [(await desk.place(account_id=account))["reason_code"] for account in accounts]
    assert codes == [None, None, None, "USER_ORDER_RATE_EXCEEDED"]
    await desk.root.execute("UPDATE app.user_rates SET rate_at = rate_at - interval '20 s'")
    codes = [(await desk.place())["reason_code"] for _ in range(2)]
    assert codes == [None, "USER_ORDER_RATE_EXCEEDED"]


@pytest.mark.parametrize("number", [1, 7, 600, 1200, 7000])
async def test_a_rate_that_no_second_divides_lets_exactly_its_number_pass(
    desk: World, number: int
) -> None:
    gap = "interval '1 us' * (60000000 / $1)"
    query = f"SELECT {gap} * $1 <= interval '1 min' AND {gap} * ($1 + 1) > interval '1 min'"
    assert await desk.root.fetchval(query, number)


@pytest.mark.parametrize("scope", ["global", "account", "strategy"])
async def test_a_state_binds_its_scope_and_the_strictest_counts(desk: World, scope: str) -> None:
    strategy = await desk.migrate.fetchval(
        "SELECT app.sp_strategy_upsert('system:test', $1, 'one')", desk.account
    )
    ids = {"global": 0, "account": desk.account, "strategy": strategy}
    for other, scope_id in ids.items():
        await desk.set_state(other, scope_id, "reducing")
    await desk.set_state(scope, ids[scope], "halted")
    assert (await desk.place(strategy_id=strategy))["reason_code"] == "TRADING_HALTED"
    for other, scope_id in ids.items():
        await desk.set_state(other, scope_id, "reducing" if other == scope else "active")
    assert (await desk.place(strategy_id=strategy))["reason_code"] == "TRADING_REDUCING"
    mine = None if scope == "strategy" else "TRADING_REDUCING"
    assert (await desk.place())["reason_code"] == mine
    theirs = "TRADING_REDUCING" if scope == "global" else None
    assert (await desk.place(account_id=desk.other))["reason_code"] == theirs


async def test_a_replace_is_judged_by_what_it_grows(desk: World) -> None:
    await limit(desk, position_quantity_max=Decimal(30), open_orders_max=2)
    order = await desk.place(quantity=Decimal(10))
    await desk.place(quantity=Decimal(5))
    await limit(desk, open_orders_max=1, orders_per_minute_max=1)
    denied = await desk.replace(order["order_id"], quantity=Decimal(26))
    assert (denied["replace_denied"], denied["quantity_max"]) == ("POSITION_EXCEEDS_MAX", 25)
    grown = await desk.replace(order["order_id"], quantity=Decimal(25))
    assert grown["replace_denied"] is None
    await limit(desk, daily_loss_max=Decimal(1))
    await desk.root.execute("UPDATE app.day_equity SET equity = equity + 1")
    shrunk = await desk.replace(order["order_id"], quantity=Decimal(20))
    assert shrunk["replace_denied"] is None
    denied = await desk.replace(order["order_id"], quantity=Decimal(21))
    assert denied["replace_denied"] == "DAILY_LOSS_EXCEEDED"


async def test_a_replace_on_its_way_counts_at_its_larger_size(desk: World) -> None:
    await limit(desk, position_quantity_max=Decimal(30))
    await desk.acquire()
    order = await desk.submit(quantity=Decimal(10))
    await desk.venue(order, "accepted")
    await desk.fill(order, "4")
    await desk.replace(order["order_id"], quantity=Decimal(20))
    assert await desk.status(order["order_id"]) == "pending_replace"
    assert await verdict(desk, quantity=Decimal(11)) == ("POSITION_EXCEEDS_MAX", 10)


async def test_what_was_placed_is_judged_again_before_the_wire(desk: World) -> None:
    await hold(desk, 10)
    closing = await desk.place(side="sell", quantity=Decimal(10))
    opening = await desk.place(quantity=Decimal(10), account_id=desk.account)
    await limit(desk, leverage_max=Decimal("0.001"))
    await desk.acquire()
    (send,) = await desk.begin()
    assert send["order_id"] == closing["order_id"], "it only closes"
    await desk.finish(send, "accepted")
    assert await desk.begin() == []
    order = await desk.order(opening["order_id"])
    assert (order["status"], order["reason_code"]) == ("canceled", "BUYING_POWER_EXCEEDED")


async def test_the_later_of_two_closing_orders_is_the_one_that_opens(desk: World) -> None:
    await hold(desk, 10)
    orders = [await desk.place(side="sell", quantity=Decimal(10)) for _ in range(2)]
    await desk.set_state("account", desk.account, "reducing")
    await desk.acquire()
    assert [send["order_id"] for send in await desk.begin()] == [orders[0]["order_id"]]


async def test_a_batch_sees_every_limit_as_single_orders_do(desk: World) -> None:
    await limit(desk, open_orders_max=3, leverage_max=Decimal("0.5"))
    requests = [desk.request(quantity=Decimal(300)), desk.request(quantity=Decimal(201))]
    requests += [desk.request(quantity=Decimal(1)) for _ in range(3)]
    rows = await place_many(desk.api, requests)
    assert [tuple(row[name] for name in VERDICT) for row in rows] == [
        (None, None),
        ("BUYING_POWER_EXCEEDED", 200),
        (None, None),
        (None, None),
        ("OPEN_ORDERS_EXCEED_MAX", None),
    ]


async def test_a_batch_is_counted_in_the_rates(desk: World) -> None:
    await limit(desk, orders_per_minute_max=3)
    await desk.migrate.execute("SELECT app.sp_user_rate_set('t', $1, 4)", desk.trader)
    requests = [desk.request() for _ in range(4)]
    requests += [desk.request(account_id=desk.other) for _ in range(2)]
    rows = await place_many(desk.api, requests)
    assert [row["reason_code"] for row in rows] == [
        *(None, None, None, "ORDER_RATE_EXCEEDED", None, "USER_ORDER_RATE_EXCEEDED")
    ]
    assert (await desk.place())["reason_code"] == "ORDER_RATE_EXCEEDED"
    code = (await desk.place(account_id=desk.other))["reason_code"]
    assert code == "USER_ORDER_RATE_EXCEEDED"


async def test_a_preview_tells_how_far_each_limit_is_used(desk: World) -> None:
    await hold(desk, 10)
    await desk.place(quantity=Decimal(5))
    seen = await preview(desk, desk.request(quantity=Decimal(7)))
    used = {
        "position_if_filled": 22,
        "position_quantity_max": 100_000,
        "account_open_orders": 1,
        "open_orders_max": 200,
        "orders_in_minute": 1,
        "orders_per_minute_max": 600,
        "user_orders_in_minute": 1,
        "user_orders_per_minute_max": 600,
        "daily_loss": 0,
        "daily_loss_max": 10_000,
        "buying_power_needed": 700,
        # 101,000 * 2 less 1,000 held and 500 ordered.
        "buying_power": 200_500,
        "equity": 101_000,
        "leverage_max": 2,
    }
    assert {name: seen[name] for name in used} == used


async def test_the_codes_of_the_rules_are_those_of_the_table(desk: World) -> None:
    folder = REPOSITORY_DIR / "db/postgres/procedures"
    words = "".join(
        (folder / f"{name}.sql").read_text()
        for name in ("sp_risk_decide", "sp_risk_facts", "sp_place_order")
    )
    used = set(re.findall(r"'([A-Z]+_[A-Z_]+)'", words))
    assert used == {row["code"] for row in await desk.root.fetch(CODES)}


async def test_no_order_is_denied_with_a_code_that_nobody_explains(desk: World) -> None:
    order = await desk.place()
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await desk.root.execute(
            "SELECT app.sp_order_move($1, 'denied', 'BECAUSE', 'test', 'place')",
            order["order_id"],
        )
