"""Who is told what: in the transaction of what happened, at least once, and only who may see it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from fixtures_postgres import make_user
from sp_world import World, desk, refused

__all__ = ["desk"]

LEASE = timedelta(seconds=60)
ALL = ["fill", "reject", "break", "halt", "lost"]


async def _set(desk: World, user: Any = None, **changes: Any) -> None:
    fields = {
        "name": "mine",
        "sealed": b"sealed",
        "fingerprint": b"f",
        "hint": "json://...",
        "kinds": ALL,
    }
    fields |= {"accounts": None, "interval": 60, "enabled": True, "session": "session", **changes}
    await desk.api.execute(
        "SELECT app.sp_notify_set($1, $2, 'request', $3, $4, $5, $6, $7, $8, $9, $10)",
        user or desk.trader,
        *(fields["session"], fields["name"], fields["sealed"], fields["fingerprint"]),
        *(fields["hint"], fields["kinds"], fields["accounts"], fields["interval"]),
        fields["enabled"],
    )


async def _claim(desk: World) -> list[tuple[int, list[dict[str, Any]]]]:
    rows = await desk.worker.fetch("SELECT * FROM app.sp_notify_claim(100, $1)", LEASE)
    return [(row["channel_id"], json.loads(row["events"])) for row in rows]


async def _finish(desk: World, claimed: Any, error: str | None = None) -> str:
    channel_id, events = claimed
    ids = [event["notify_id"] for event in events]
    query = "SELECT app.sp_notify_finish($1, $2, $3)"
    return str(await desk.worker.fetchval(query, channel_id, ids, error))


async def _owed(desk: World) -> list[str]:
    rows = await desk.root.fetch("SELECT kind FROM app.notify_events ORDER BY notify_id")
    return [row["kind"] for row in rows]


async def _later(desk: World) -> None:
    await desk.root.execute("UPDATE app.notify_channels SET next_at = '-infinity'")


@pytest.fixture
async def order(desk: World) -> Any:
    """An order that works at the venue."""
    await desk.acquire()
    order = await desk.submit(quantity=10)
    await desk.venue(order, "accepted")
    return order


async def test_each_kind_is_owed_where_it_happens(desk: World, order: Any) -> None:
    await _set(desk)
    await desk.fill(order, "4")
    other = await desk.submit(quantity=10)
    await desk.venue(other, "rejected", reason="no margin")
    lost = await desk.submit(quantity=10)
    await desk.report(lost, "order_state", known=True, reason="AMBIGUOUS")
    await desk.root.execute(
        "SELECT app.sp_trading_state_force('test', 'global', 0, 'halted', 'fire')"
    )
    unknown = {**desk.event(order, "order_event", status="filled"), "client_order_id": "of-nobody"}
    fill = {"exec_id": "E", "fill_quantity": "1", "fill_price": "1"}
    await desk.put([{**unknown, **fill}])
    assert await desk.apply_pending() == ["unmatched"]
    # The break has switched its account as well.
    assert await _owed(desk) == ["fill", "reject", "lost", "halt", "break", "halt"]
    ((_, events),) = await _claim(desk)
    assert events[0]["detail"] | {"price": 100.0} == {
        "client_order_id": order["client_order_id"],
        **{"instrument_id": events[0]["detail"]["instrument_id"], "side": "buy"},
        **{"quantity": 4, "price": 100.0, "cum_quantity": 4, "of": 10},
    }
    assert events[0]["symbol"] == "AAPL"
    assert [event["account"] is None for event in events] == [False] * 3 + [True] + [False] * 2


async def test_what_is_rolled_back_is_not_told(desk: World, order: Any) -> None:
    await _set(desk)
    transaction = desk.worker.transaction()
    await transaction.start()
    await desk.fill(order, "4")
    await transaction.rollback()
    assert await _owed(desk) == []


async def test_nobody_is_told_what_he_did_not_ask_for(desk: World, order: Any) -> None:
    await _set(desk, name="others", accounts=[desk.other])
    await _set(desk, name="halts", kinds=["halt"])
    await _set(desk, name="off", enabled=False)
    await _set(desk, desk.stranger, name="stranger")
    await desk.fill(order, "4")
    assert await _owed(desk) == []


async def test_a_member_who_left_gets_nothing_more_not_even_what_waited(
    desk: World, order: Any
) -> None:
    await _set(desk)
    await desk.fill(order, "4")
    query = "SELECT app.sp_member_set('test', $1, $2, $3)"
    await desk.migrate.execute(query, desk.account, desk.trader, None)
    assert await _claim(desk) == []
    await desk.fill(order, "4")
    assert await _owed(desk) == []
    await desk.migrate.execute(query, desk.account, desk.trader, True)
    await desk.fill(order, "2")
    assert await _owed(desk) == ["fill"]
    await desk.root.execute("UPDATE app.users SET disabled = TRUE")
    assert await _claim(desk) == []
    assert await _owed(desk) == []


async def test_a_burst_is_one_message_and_the_next_waits_its_interval(
    desk: World, order: Any
) -> None:
    await _set(desk)
    for _ in range(3):
        await desk.fill(order, "1")
    (first,) = await _claim(desk)
    assert len(first[1]) == 3
    await desk.fill(order, "1")
    assert await _claim(desk) == [], "on its way"
    assert await _finish(desk, first) == "sent"
    await desk.fill(order, "1")
    assert await _claim(desk) == [], "within the interval"
    wait = await desk.root.fetchval("SELECT next_at - clock_timestamp() FROM app.notify_channels")
    assert timedelta(seconds=50) < wait < timedelta(seconds=61)
    await _later(desk)
    ((_, events),) = await _claim(desk)
    assert len(events) == 2


async def test_a_delivery_that_was_never_recorded_goes_again_when_its_lease_is_over(
    desk: World, order: Any
) -> None:
    await _set(desk)
    await desk.fill(order, "1")
    (first,) = await _claim(desk)
    await _later(desk)
    assert await _claim(desk) == [first]


async def test_after_eight_failures_it_is_dead_audited_and_an_admin_may_requeue(
    desk: World, order: Any
) -> None:
    await _set(desk)
    await desk.fill(order, "1")
    ended = []
    waits = []
    for _ in range(8):
        await _later(desk)
        (claimed,) = await _claim(desk)
        ended.append(await _finish(desk, claimed, "refused_500"))
        query = "SELECT next_at - clock_timestamp() FROM app.notify_channels"
        waits.append((await desk.root.fetchval(query)).total_seconds())
    assert ended == ["retry"] * 7 + ["dead"]
    assert all(7 * 2**n < wait < 13 * 2**n for n, wait in enumerate(waits[:8]))
    await _later(desk)
    assert await _claim(desk) == []
    assert await desk.worker.fetchrow("SELECT pending, dead FROM app.sp_notify_backlog()") == (0, 1)
    audited = "SELECT detail FROM audit.audit_log WHERE action = 'notify.dead'"
    assert json.loads(await desk.root.fetchval(audited))["error"] == "refused_500"
    admin = await make_user(desk.migrate, role="admin")
    act = "SELECT app.sp_admin_notify($1, 'session', 'request', $2, $3)"
    await desk.api.execute(act, admin, claimed[0], "requeue")
    ((_, events),) = await _claim(desk)
    assert len(events) == 1
    await desk.api.execute(act, admin, claimed[0], "remove")
    assert await _owed(desk) == []
    with refused("IN404", "channel_not_found"):
        await desk.api.execute(act, admin, claimed[0], "remove")
    with refused("IN403", "role_not_allowed"):
        await desk.api.execute(act, desk.trader, 1, "requeue")
    with refused("IN422", "action_invalid"):
        await desk.api.execute(act, admin, 1, "read")


async def test_setting_is_idempotent_audited_and_says_nothing_of_the_address(desk: World) -> None:
    await _set(desk)
    await _set(desk, sealed=b"sealed again", kinds=[*reversed(ALL), "fill"])
    query = "SELECT detail::text FROM audit.audit_log WHERE action LIKE 'notify.%' ORDER BY seq"
    (audited,) = await desk.root.fetch(query)
    assert "sealed" not in audited["detail"]
    assert "json" not in audited["detail"]
    await _set(desk, sealed=None, fingerprint=None, hint=None, interval=120)
    row = await desk.root.fetchrow("SELECT * FROM app.notify_channels")
    assert (row["sealed"], row["interval_s"], row["hint"]) == (b"sealed", 120, "json://...")
    listed = await desk.api.fetch("SELECT app.sp_notify_list($1, 'session')", desk.trader)
    assert "sealed" not in listed[0][0]
    assert await desk.api.fetch("SELECT app.sp_notify_list($1, 'session')", desk.stranger) == []
    await desk.assert_whole()


@pytest.mark.parametrize(
    ("changes", "sqlstate", "detail"),
    [
        ({"kinds": ["fill", "weather"]}, "IN422", "kinds_invalid"),
        ({"kinds": None}, "IN422", "kinds_invalid"),
        ({"kinds": [None]}, "IN422", "kinds_invalid"),
        ({"interval": 9}, "IN422", "interval_invalid"),
        ({"interval": None}, "IN422", "interval_invalid"),
        ({"interval": 86401}, "IN422", "interval_invalid"),
        ({"name": "no spaces"}, "IN422", "name_invalid"),
        ({"name": ""}, "IN422", "name_invalid"),
        ({"accounts": [999999]}, "IN404", "account_not_found"),
        ({"accounts": [None]}, "IN404", "account_not_found"),
        ({"sealed": None}, "IN422", "address_missing"),
        ({"session": None}, "IN401", "session_revoked"),
    ],
)
async def test_a_channel_that_cannot_be_is_refused(
    desk: World, changes: dict[str, Any], sqlstate: str, detail: str
) -> None:
    with refused(sqlstate, detail):
        await _set(desk, **changes)
    assert await desk.root.fetchval("SELECT count(*) FROM app.notify_channels") == 0


async def test_accounts_of_others_and_an_eleventh_channel_are_refused(desk: World) -> None:
    with refused("IN404", "account_not_found"):
        await _set(desk, desk.stranger, accounts=[desk.account])
    for number in range(10):
        await _set(desk, name=f"channel-{number}")
    with refused("IN409", "channels_full"):
        await _set(desk, name="one-more")


async def test_a_test_message_waits_once_and_is_of_ones_own_channel(desk: World) -> None:
    await _set(desk, enabled=False)
    query = "SELECT app.sp_notify_test($1, 'session', 'request', $2)"
    await desk.api.execute(query, desk.trader, "mine")
    await desk.api.execute(query, desk.trader, "mine")
    assert await _owed(desk) == ["test"]
    assert len(await _claim(desk)) == 1
    with refused("IN404", "channel_not_found"):
        await desk.api.execute(query, desk.stranger, "mine")
    remove = "SELECT app.sp_notify_remove($1, 'session', 'request', $2)"
    with refused("IN404", "channel_not_found"):
        await desk.api.execute(remove, desk.stranger, "mine")
    await desk.api.execute(remove, desk.trader, "mine")
    assert await _owed(desk) == []


async def test_a_channel_that_goes_while_it_is_told_never_hurts_a_fill(
    desk: World, order: Any
) -> None:
    await _set(desk)
    transaction = desk.worker.transaction()
    await transaction.start()
    await desk.fill(order, "4")
    # The fill is not committed yet; the channel goes.
    await desk.root.execute("DELETE FROM app.notify_channels")
    await transaction.commit()
    assert await desk.root.fetchval("SELECT cum_quantity FROM app.orders") == 4
    assert await _claim(desk) == []
    assert await _owed(desk) == []
