"""An order is recorded once, refused in words or denied by the risk rules."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from fixtures_postgres import make_account, make_instrument, make_user, set_price
from sp_world import LIMITS, World, desk, place, refused

__all__ = ["desk"]

FUTURE = datetime(2999, 1, 1, tzinfo=UTC)


async def test_a_good_order_is_new_audited_and_owed_once(desk: World) -> None:
    order = await desk.place(client_order_id="c-1", quantity=Decimal("10.0"))
    assert (order["status"], order["replayed"], order["reason_code"]) == ("new", False, None)
    assert (order["cum_quantity"], order["account_id"]) == (0, desk.account)
    (owed,) = await desk.outbox()
    assert (owed["kind"], owed["order_id"]) == ("order.place.v1", order["order_id"])
    assert owed["shard"] == desk.account % 16
    audit = await desk.root.fetch(
        "SELECT actor, db_user FROM audit.audit_log WHERE action = 'order.place'"
    )
    assert [tuple(row) for row in audit] == [(f"user:{desk.trader}", "app_write")]
    await desk.assert_whole()


async def test_the_same_request_again_answers_with_the_first_order_as_it_is_now(
    desk: World,
) -> None:
    first = await desk.place(client_order_id="c-1", quantity=Decimal(10))
    await desk.root.execute("UPDATE app.orders SET status = 'submitted'")
    again = await desk.place(client_order_id="c-1", quantity=Decimal("10.00000000"))
    assert (again["order_id"], again["replayed"]) == (first["order_id"], True)
    assert again["status"] == "submitted"
    assert len(await desk.outbox()) == 1


async def test_a_replay_needs_no_lock(desk: World) -> None:
    await desk.place(client_order_id="c-1")
    async with desk.root.transaction():
        await desk.root.execute("SELECT FROM app.streams FOR UPDATE")
        async with asyncio.timeout(2):
            assert (await desk.place(client_order_id="c-1"))["replayed"]


OTHER_REQUESTS: list[dict[str, Any]] = [
    {"quantity": Decimal(11)},
    {"side": "sell"},
    {"limit_price": Decimal("100.01")},
    {"order_type": "market", "limit_price": None},
    {"time_in_force": "gtc"},
    {"symbol": "MSFT"},
]


async def test_another_request_under_the_id_is_refused(desk: World) -> None:
    await desk.place(client_order_id="c-1")
    for change in OTHER_REQUESTS:
        with refused("IN422", "idempotency_key_reused"):
            await desk.place(client_order_id="c-1", **change)
    assert len(await desk.outbox()) == 1


async def test_another_users_id_is_refused_on_his_and_on_a_shared_account(desk: World) -> None:
    await desk.place(client_order_id="c-1")
    theirs = await make_account(desk.migrate, {desk.stranger: True}, limits=LIMITS)
    with refused("IN422", "idempotency_key_reused"):
        await desk.place(client_order_id="c-1", user_id=desk.stranger, account_id=theirs)
    query = "SELECT app.sp_member_set('system:test', $1, $2, TRUE)"
    await desk.migrate.execute(query, desk.account, desk.stranger)
    with refused("IN422", "idempotency_key_reused"):
        await desk.place(client_order_id="c-1", user_id=desk.stranger)
    with refused("IN422", "idempotency_key_reused"):
        await desk.place(client_order_id="c-1", account_id=desk.other)


MALFORMED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"quantity": Decimal(bad)}, "quantity_invalid")
        for bad in ("0", "-1", "NaN", "Infinity", "-Infinity", "1e12", "0.000000001")
    ),
    ({"quantity": Decimal("1.123456785")}, "quantity_invalid"),
    ({"quantity": None}, "quantity_invalid"),
    *(
        ({"limit_price": Decimal(bad)}, "price_invalid")
        for bad in ("0", "-1", "NaN", "Infinity", "1e12", "100.123456789")
    ),
    ({"limit_price": None}, "price_invalid"),
    ({"order_type": "market"}, "price_invalid"),
    ({"stop_price": Decimal(1)}, "price_invalid"),
    ({"order_type": "stop"}, "price_invalid"),
    ({"order_type": "stop_limit"}, "price_invalid"),
    (
        {"order_type": "stop", "limit_price": None, "stop_price": Decimal("NaN")},
        "price_invalid",
    ),
    ({"client_order_id": ""}, "client_order_id_invalid"),
    ({"client_order_id": "x" * 37}, "client_order_id_invalid"),
    ({"client_order_id": "a b"}, "client_order_id_invalid"),
    ({"client_order_id": "a\n"}, "client_order_id_invalid"),
    ({"client_order_id": "é"}, "client_order_id_invalid"),
    ({"client_order_id": None}, "client_order_id_invalid"),
    ({"request_id": "x" * 65}, "request_id_invalid"),
    ({"request_id": None}, "request_id_invalid"),
    ({"side": "hold"}, "side_invalid"),
    ({"side": None}, "side_invalid"),
    ({"order_type": "iceberg"}, "order_type_invalid"),
    ({"order_type": None}, "order_type_invalid"),
    ({"time_in_force": "opg"}, "time_in_force_invalid"),
    ({"time_in_force": None}, "time_in_force_invalid"),
    ({"expires_at": FUTURE}, "expires_at_invalid"),
    ({"time_in_force": "gtd"}, "expires_at_invalid"),
    (
        {"time_in_force": "gtd", "expires_at": datetime(2001, 1, 1, tzinfo=UTC)},
        "expires_at_invalid",
    ),
    ({"symbol": "NOPE"}, "instrument_not_found"),
    ({"symbol": None}, "instrument_not_found"),
    ({"account_id": None}, "account_id_invalid"),
]


async def test_what_no_order_may_look_like_is_refused_and_nothing_is_written(
    desk: World,
) -> None:
    for change, code in MALFORMED:
        with refused("IN422", code):
            await desk.place(**change)
    assert await desk.root.fetchval("SELECT count(*) FROM app.orders") == 0
    assert await desk.outbox() == []


async def test_who_may_not_trade_is_refused_and_nothing_is_written(desk: World) -> None:
    viewer, admin = await make_user(desk.migrate, "viewer"), await make_user(desk.migrate, "admin")
    member = "SELECT app.sp_member_set('system:test', $1, $2, $3)"
    await desk.migrate.execute(member, desk.account, viewer, True)
    with refused("IN403", "role_not_allowed"):
        await desk.place(user_id=viewer)
    with refused("IN404", "account_not_found"):
        await desk.place(user_id=desk.stranger)
    with refused("IN404", "account_not_found"):
        await desk.place(user_id=admin)
    for account_id in (0, 999_999):
        with refused("IN404", "account_not_found"):
            await desk.place(account_id=account_id)
    await desk.migrate.execute(member, desk.account, desk.stranger, False)
    with refused("IN403", "not_allowed_to_trade"):
        await desk.place(user_id=desk.stranger)
    for user_id in (None, uuid4()):
        with refused("IN401", "user_unknown"):
            await desk.place(user_id=user_id)
    assert await desk.root.fetchval("SELECT count(*) FROM app.orders") == 0


async def test_a_revoked_session_and_a_disabled_user_bind_the_next_call_replays_too(
    desk: World,
) -> None:
    await desk.place(client_order_id="c-1", session="s-1")
    query = "SELECT app.sp_session_revoked('system:test', $1, 's-1')"
    await desk.api.execute(query, desk.trader)
    with refused("IN401", "session_revoked"):
        await desk.place(client_order_id="c-1", session="s-1")
    with refused("IN401", "session_revoked"):
        await desk.place(session=None)
    await desk.root.execute("UPDATE app.users SET disabled = TRUE")
    with refused("IN401", "user_disabled"):
        await desk.place(client_order_id="c-1")


async def test_a_revocation_while_the_call_waits_for_the_lock_binds_it(desk: World) -> None:
    async with desk.root.transaction():
        await desk.root.execute("SELECT FROM app.streams FOR UPDATE")
        waiting = asyncio.create_task(desk.place(session="s-1"))
        await desk.until_blocked()
        await desk.root.execute(
            "INSERT INTO security.revoked_sessions (session_handle, user_id) VALUES ('s-1', $1)",
            desk.trader,
        )
    with refused("IN401", "session_revoked"):
        await waiting


async def test_a_strategy_must_be_the_accounts_own(desk: World) -> None:
    query = "SELECT app.sp_strategy_upsert('system:test', $1, 'mean')"
    mine = await desk.migrate.fetchval(query, desk.account)
    theirs = await desk.migrate.fetchval(query, desk.other)
    assert (await desk.place(strategy_id=mine))["status"] == "new"
    for strategy_id in (theirs, 999_999):
        with refused("IN404", "strategy_not_found"):
            await desk.place(strategy_id=strategy_id)


DENIALS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"quantity": Decimal(1001)}, "ORDER_QUANTITY_EXCEEDS_MAX", "500"),
    ({"quantity": Decimal(501)}, "ORDER_NOTIONAL_EXCEEDS_MAX", "500"),
    (
        {"quantity": Decimal(501), "order_type": "market", "limit_price": None},
        "ORDER_NOTIONAL_EXCEEDS_MAX",
        "500",
    ),
    ({"limit_price": Decimal("110.01")}, "PRICE_OUTSIDE_COLLAR", None),
    ({"limit_price": Decimal("89.99")}, "PRICE_OUTSIDE_COLLAR", None),
    ({"limit_price": Decimal("100.005")}, "PRICE_NOT_ON_TICK", None),
    ({"quantity": Decimal("1.5")}, "QUANTITY_NOT_ON_LOT", None),
    ({"symbol": "DEAD"}, "INSTRUMENT_NOT_TRADABLE", None),
    ({"symbol": "MUTE"}, "NO_MARKET_PRICE", None),
    ({"symbol": "OLD"}, "STALE_MARKET_PRICE", None),
    ({"time_in_force": "ioc"}, "TIME_IN_FORCE_NOT_SUPPORTED", None),
    ({"time_in_force": "fok"}, "TIME_IN_FORCE_NOT_SUPPORTED", None),
    (
        {"order_type": "stop", "limit_price": None, "stop_price": Decimal(89)},
        "PRICE_OUTSIDE_COLLAR",
        None,
    ),
    (
        {"order_type": "stop", "limit_price": None, "stop_price": Decimal("95.005")},
        "PRICE_NOT_ON_TICK",
        None,
    ),
]


async def _make_odd_instruments(desk: World) -> None:
    await make_instrument(desk.migrate, "DEAD", tradable=False)
    await make_instrument(desk.migrate, "MUTE")
    await make_instrument(desk.migrate, "OLD")
    await set_price(desk.migrate, "OLD", "100")
    await desk.root.execute(
        """UPDATE market.last_prices SET received_at = now() - interval '31 s'
        WHERE instrument_id = (SELECT instrument_id FROM app.instruments WHERE symbol = 'OLD')"""
    )


async def test_what_the_risk_rules_deny_is_recorded_audited_replayed_and_owed_to_nobody(
    desk: World,
) -> None:
    await _make_odd_instruments(desk)
    for change, reason, quantity_max in DENIALS:
        request = desk.request(**change)
        for replayed in (False, True):
            order = await place(desk.api, request)
            assert (order["status"], order["reason_code"]) == ("denied", reason), change
            assert order["replayed"] is replayed
            assert order["quantity_max"] == (quantity_max and Decimal(quantity_max)), change
    assert await desk.outbox() == []
    query = "SELECT count(*) FROM audit.audit_log WHERE action = 'order.denied'"
    assert await desk.root.fetchval(query) == len(DENIALS)
    await desk.assert_whole()


async def test_what_lies_on_the_limit_passes(desk: World) -> None:
    for change in (
        {"quantity": Decimal(500)},
        {"limit_price": Decimal("110.00")},
        {"limit_price": Decimal("90.00"), "quantity": Decimal(555)},
        {"order_type": "market", "limit_price": None, "quantity": Decimal(500)},
    ):
        assert (await desk.place(**change))["status"] == "new", change


async def test_the_size_that_would_have_passed_passes(desk: World) -> None:
    await make_instrument(desk.migrate, lot_size=Decimal("0.3"))
    await set_price(desk.migrate, "AAPL", "99.97")
    denied = await desk.place(quantity=Decimal("750.3"), limit_price=Decimal("99.99"))
    assert denied["reason_code"] == "ORDER_NOTIONAL_EXCEEDS_MAX"
    largest = denied["quantity_max"]
    passed = await desk.place(quantity=largest, limit_price=Decimal("99.99"))
    beyond = await desk.place(quantity=largest + Decimal("0.3"), limit_price=Decimal("99.99"))
    assert (passed["status"], beyond["status"]) == ("new", "denied")


async def test_each_source_has_its_own_age(desk: World) -> None:
    age = "UPDATE market.last_prices SET received_at = clock_timestamp() - $1::interval"
    for source, age_s in (("replay", 30), ("ib", 30), ("quantconnect", 120)):
        await set_price(desk.migrate, "AAPL", "100", source=source)
        await desk.root.execute(age, timedelta(seconds=age_s - 5))
        assert (await desk.place())["status"] == "new", source
        await desk.root.execute(age, timedelta(seconds=age_s + 1))
        assert (await desk.place())["reason_code"] == "STALE_MARKET_PRICE", source


async def test_an_account_without_limits_may_not_trade(desk: World) -> None:
    bare = await make_account(desk.migrate, {desk.trader: True}, limits=None)
    assert (await desk.place(account_id=bare))["reason_code"] == "NO_RISK_LIMITS"


async def test_a_halt_of_everything_of_the_account_or_the_strategy_denies(desk: World) -> None:
    query = "SELECT app.sp_strategy_upsert('system:test', $1, 'mean')"
    strategy = await desk.migrate.fetchval(query, desk.account)
    for scope, scope_id in (("global", 0), ("account", desk.account), ("strategy", strategy)):
        await desk.set_state(scope, scope_id, "halted")
        order = await desk.place(strategy_id=strategy)
        assert order["reason_code"] == "TRADING_HALTED", scope
        await desk.set_state(scope, scope_id, "active")
    await desk.set_state("account", desk.other, "halted")
    assert (await desk.place(strategy_id=strategy))["status"] == "new"


async def test_reducing_lets_only_orders_pass_that_shrink_the_position(desk: World) -> None:
    await desk.root.execute(
        "INSERT INTO app.positions (account_id, instrument_id, quantity, cost) VALUES "
        "($1, (SELECT instrument_id FROM app.instruments WHERE symbol = 'AAPL'), 10, 1000)",
        desk.account,
    )
    await desk.set_state("account", desk.account, "reducing")
    assert (await desk.place(side="buy"))["reason_code"] == "TRADING_REDUCING"
    too_many = await desk.place(side="sell", quantity=Decimal(11))
    assert too_many["reason_code"] == "TRADING_REDUCING"
    assert (await desk.place(side="sell", quantity=Decimal(7)))["status"] == "new"
    rest = await desk.place(side="sell", quantity=Decimal(4))
    assert rest["reason_code"] == "TRADING_REDUCING"
    assert (await desk.place(side="sell", quantity=Decimal(3)))["status"] == "new"


async def test_every_other_isolation_is_refused(desk: World) -> None:
    for isolation in ("repeatable_read", "serializable"):
        with refused("25001"):
            async with desk.api.transaction(isolation=isolation):
                await desk.place()
