"""A preview says what placing would do, by the same rules, and leaves no trace."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import make_account, make_instrument, make_user, set_price
from sp_world import LIMITS, Request, World, desk, new_id, refused

from paper.orders import commission

__all__ = ["desk"]

PREVIEW = "SELECT * FROM app.sp_preview_order($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
TRACES = """
    SELECT
        (SELECT count(*) FROM app.orders) AS orders,
        (SELECT count(*) FROM app.order_events) AS events,
        (SELECT count(*) FROM app.events_outbox) AS owed,
        (SELECT count(*) FROM app.idempotency) AS keys,
        (SELECT sum(s.seq) FROM app.streams AS s) AS audited
"""


async def ask(connection: asyncpg.Connection, request: Request) -> asyncpg.Record:
    """Preview an order."""
    arguments = request.arguments()
    return await connection.fetchrow(PREVIEW, *arguments[:2], *arguments[4:])


async def test_an_order_that_passes_is_described_in_full(desk: World) -> None:
    seen = await ask(desk.api, desk.request(quantity=Decimal("250.0")))
    assert (seen["reason_code"], seen["quantity_max"]) == (None, None)
    assert (seen["currency"], seen["notional"]) == ("USD", Decimal(25_000))
    assert seen["estimated_fee"] == Decimal("1.25")
    assert (seen["mark_price"], seen["open_orders"]) == (Decimal(100), 0)
    assert 0 <= seen["mark_age_s"] < 30
    assert (seen["position_before"], seen["position_after"]) == (0, 250)
    assert seen["cash_before"] == Decimal(100_000)
    assert seen["cash_after"] == Decimal("74998.75")
    limits = (seen["order_quantity_max"], seen["order_notional_max"], seen["price_collar"])
    assert limits == LIMITS


async def test_a_preview_leaves_no_trace_and_may_be_made_where_nothing_can_be_written(
    desk: World,
) -> None:
    before = await desk.root.fetchrow(TRACES)
    for quantity in (Decimal(1), Decimal(2000)):
        async with desk.api.transaction(readonly=True):
            await ask(desk.api, desk.request(quantity=quantity))
    assert await desk.root.fetchrow(TRACES) == before


async def test_a_preview_waits_for_no_lock(desk: World) -> None:
    async with desk.root.transaction():
        await desk.root.execute("SELECT FROM app.streams FOR UPDATE")
        assert (await ask(desk.api, desk.request()))["reason_code"] is None


async def scene(desk: World, name: str) -> None:
    """Bring the desk into a state in which orders are denied."""
    statements = {
        "stale": "UPDATE market.last_prices SET received_at = now() - interval '1 minute'",
        "no price": "DELETE FROM market.last_prices",
        "no limits": "DELETE FROM app.risk_limits",
        "not tradable": "UPDATE app.instruments SET tradable = FALSE",
    }
    if name in statements:
        await desk.root.execute(statements[name])
    elif name:
        await desk.set_state("account", desk.account, name)


CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("", {}, None),
    ("", {"quantity": Decimal(1001)}, "ORDER_QUANTITY_EXCEEDS_MAX"),
    ("", {"quantity": Decimal(501)}, "ORDER_NOTIONAL_EXCEEDS_MAX"),
    ("", {"limit_price": Decimal("110.01")}, "PRICE_OUTSIDE_COLLAR"),
    ("", {"limit_price": Decimal("100.001")}, "PRICE_NOT_ON_TICK"),
    ("", {"quantity": Decimal("1.5")}, "QUANTITY_NOT_ON_LOT"),
    ("", {"time_in_force": "ioc"}, "TIME_IN_FORCE_NOT_SUPPORTED"),
    ("", {"order_type": "market", "limit_price": None}, None),
    ("halted", {}, "TRADING_HALTED"),
    ("reducing", {}, "TRADING_REDUCING"),
    ("stale", {}, "STALE_MARKET_PRICE"),
    ("no price", {}, "NO_MARKET_PRICE"),
    ("no price", {"order_type": "market", "limit_price": None}, "NO_MARKET_PRICE"),
    ("no limits", {}, "NO_RISK_LIMITS"),
    ("not tradable", {}, "INSTRUMENT_NOT_TRADABLE"),
]


@pytest.mark.parametrize(("state", "changes", "expected"), CASES)
async def test_the_verdict_is_the_one_that_placing_meets(
    desk: World, state: str, changes: dict[str, Any], expected: str | None
) -> None:
    await scene(desk, state)
    request = desk.request(**changes)
    seen = await ask(desk.api, request)
    placed = await desk.place(**changes)
    assert seen["reason_code"] == placed["reason_code"] == expected
    assert seen["quantity_max"] == placed["quantity_max"]


async def test_without_any_price_a_market_order_has_no_value(desk: World) -> None:
    await desk.root.execute("DELETE FROM market.last_prices")
    seen = await ask(desk.api, desk.request(order_type="market", limit_price=None))
    names = ("notional", "estimated_fee", "mark_price", "mark_age_s", "cash_after")
    assert [seen[name] for name in names] == [None] * 5
    assert (seen["position_after"], seen["cash_before"]) == (10, 100_000)


async def test_selling_takes_from_the_position_and_adds_cash(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit(quantity=Decimal(10))
    await desk.fill(order, "10", status="filled")
    await desk.place(quantity=Decimal(3))
    seen = await ask(desk.api, desk.request(side="sell", quantity=Decimal(4)))
    assert (seen["position_before"], seen["position_after"]) == (10, 6)
    assert seen["cash_after"] - seen["cash_before"] == Decimal(399)
    assert seen["open_orders"] == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal("Infinity")},
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"quantity": None},
        {"quantity": Decimal("0.000000001")},
        {"quantity": Decimal(10**12)},
    ],
)
async def test_a_quantity_that_is_none_is_refused(desk: World, changes: dict[str, Any]) -> None:
    with refused("IN422", "quantity_invalid"):
        await ask(desk.api, desk.request(**changes))


@pytest.mark.parametrize(
    ("changes", "sqlstate", "code"),
    [
        ({"limit_price": Decimal("NaN")}, "IN422", "price_invalid"),
        ({"limit_price": None}, "IN422", "price_invalid"),
        ({"side": "hold"}, "IN422", "side_invalid"),
        ({"side": None}, "IN422", "side_invalid"),
        ({"symbol": "NOPE"}, "IN422", "instrument_not_found"),
        ({"symbol": None}, "IN422", "instrument_not_found"),
        ({"strategy_id": 999}, "IN404", "strategy_not_found"),
        ({"account_id": 999_999}, "IN404", "account_not_found"),
        ({"session": None}, "IN401", "session_revoked"),
        ({"user_id": None}, "IN401", "user_unknown"),
        (
            {"time_in_force": "gtd", "expires_at": datetime.now(UTC) - timedelta(days=1)},
            "IN422",
            "expires_at_invalid",
        ),
    ],
)
async def test_what_placing_refuses_a_preview_refuses_alike(
    desk: World, changes: dict[str, Any], sqlstate: str, code: str
) -> None:
    request = desk.request(**changes)
    with refused(sqlstate, code):
        await ask(desk.api, request)
    with refused(sqlstate, code):
        await desk.place(**changes)


async def test_only_who_may_place_may_preview(desk: World) -> None:
    viewer = await make_user(desk.migrate, "viewer")
    looker = await make_user(desk.migrate, "trader")
    account = await make_account(desk.migrate, {viewer: True, looker: False})
    ours = replace(desk.request(), account_id=account)
    with refused("IN403", "role_not_allowed"):
        await ask(desk.api, replace(ours, user_id=viewer))
    with refused("IN403", "not_allowed_to_trade"):
        await ask(desk.api, replace(ours, user_id=looker))
    with refused("IN404", "account_not_found"):
        await ask(desk.api, replace(desk.request(), user_id=desk.stranger))
    await desk.api.execute("SELECT app.sp_session_revoked('system:test', $1, 'x')", desk.trader)
    with refused("IN401", "session_revoked"):
        await ask(desk.api, desk.request(session="x"))


async def test_another_currency_has_its_own_cash(desk: World) -> None:
    await make_instrument(desk.migrate, "SAP")
    await desk.root.execute("UPDATE app.instruments SET currency = 'EUR' WHERE symbol = 'SAP'")
    await set_price(desk.migrate, "SAP", "100")
    seen = await ask(desk.api, desk.request(symbol="SAP", quantity=Decimal(10)))
    assert (seen["currency"], seen["cash_before"]) == ("EUR", 0)
    assert seen["cash_after"] == Decimal(-1001)


@pytest.mark.parametrize(
    ("quantity", "price"),
    [("1", "0.5"), ("1", "20"), ("199", "3"), ("200", "3"), ("10000", "0.01"), ("12345", "7.77")],
)
async def test_the_estimated_fee_is_the_commission_of_the_paper_venue(
    desk: World, quantity: str, price: str
) -> None:
    size, notional = Decimal(quantity), Decimal(quantity) * Decimal(price)
    query = "SELECT app.sp_estimated_fee($1, $2)"
    assert await desk.root.fetchval(query, size, notional) == commission(size, notional)


async def test_the_reader_and_the_worker_may_not_preview(desk: World) -> None:
    for role in ("app_read", "app_worker"):
        connection = await desk.database.connect(role)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(connection, desk.request(client_order_id=new_id()))
