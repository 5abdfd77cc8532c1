"""The way of an order, how fresh everything is, and the prices beside a position."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from fixtures_postgres import make_user, set_price
from read_tokens import read, sign
from sp_world import World, desk

__all__ = ["desk"]

TIMELINE = "SELECT * FROM reporting.order_timeline($1)"
HEALTH = "SELECT * FROM reporting.health($1)"
BARS = "SELECT * FROM reporting.bars_between($1, $2, $3, $4)"


async def seen(
    desk: World, query: str, *arguments: Any, user_id: UUID | None = None
) -> list[asyncpg.Record]:
    """Read as a user; the trader when none is named."""
    key = desk.database.settings.secret("db_token_key")
    return await read(desk.database, sign(key, user_id or desk.trader), query, *arguments)


# --- the timeline ---------------------------------------------------------------------------


async def filled(desk: World) -> asyncpg.Record:
    """Place an order and have it filled."""
    await desk.acquire()
    order = await desk.submit(quantity=Decimal(10))
    await desk.venue(order, "accepted")
    await desk.fill(order, "10", "99.5", status="filled")
    return order


async def test_a_filled_order_tells_its_whole_way_in_order(desk: World) -> None:
    order = await filled(desk)
    rows = await seen(desk, TIMELINE, order["order_id"])
    states = [row["status_after"] for row in rows if row["origin"] == "order"]
    assert [s for i, s in enumerate(states) if s != states[i - 1] or i == 0] == [
        "submitting",
        "submitted",
        "accepted",
        "filled",
    ]
    actions = [row["kind"] for row in rows if row["origin"] == "audit"]
    assert actions[0] == "order.place"
    assert set(actions) >= {"order.submitting", "order.submitted", "order.filled", "execution.book"}
    owed = [(row["kind"], row["detail"]) for row in rows if row["origin"] == "outbox"]
    assert owed == [
        ("order.place.v1", "owed"),
        ("order.place.v1", "accepted, attempts: 1"),
    ]
    (fill,) = [row for row in rows if row["origin"] == "execution"]
    assert fill["detail"] == "10 at 99.5, fee 1 USD"
    moments = [row["recorded_at"] for row in rows]
    assert moments == sorted(moments)
    assert (rows[0]["kind"], rows[0]["elapsed_ms"]) == ("order.place", None)
    assert rows[0]["detail"] == "request request"
    gaps = [(b - a) / timedelta(milliseconds=1) for a, b in pairwise(moments)]
    told = [float(row["elapsed_ms"]) for row in rows[1:]]
    assert told == pytest.approx(gaps, abs=0.001)


async def test_the_audit_links_are_those_of_the_chain(desk: World) -> None:
    order = await filled(desk)
    rows = await seen(desk, TIMELINE, order["order_id"])
    links = [(row["audit_seq"], row["audit_hash"]) for row in rows if row["origin"] == "audit"]
    chain = await desk.root.fetch(
        "SELECT seq, encode(hash, 'hex') FROM audit.audit_log WHERE stream_id = $1"
        " AND detail ->> 'order_id' = $2 ORDER BY seq",
        *(desk.account, str(order["order_id"])),
    )
    assert links == [tuple(row) for row in chain]
    assert all(row["audit_seq"] is None for row in rows if row["origin"] != "audit")


async def test_a_user_who_acted_is_named_by_his_address(desk: World) -> None:
    order = await desk.place()
    email = await desk.root.fetchval("SELECT email FROM app.users WHERE user_id = $1", desk.trader)
    (place, *_) = await seen(desk, TIMELINE, order["order_id"])
    assert place["source"] == email


async def test_a_send_under_way_and_a_denial_are_told(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    await desk.begin()
    rows = await seen(desk, TIMELINE, order["order_id"])
    assert "attempt 1, place: sending" in [row["detail"] for row in rows]
    denied = await desk.place(quantity=Decimal(1001))
    rows = await seen(desk, TIMELINE, denied["order_id"])
    (audit,) = [row for row in rows if row["kind"] == "order.denied"]
    assert (audit["status_before"], audit["status_after"]) == ("new", "denied")
    assert audit["reason"] == "ORDER_QUANTITY_EXCEEDS_MAX"
    assert [row for row in rows if row["origin"] == "outbox"] == []


async def test_what_was_reported_and_not_applied_is_told_too(desk: World) -> None:
    order = await filled(desk)
    await desk.venue(order, "accepted")
    rows = await seen(desk, TIMELINE, order["order_id"])
    (stale,) = [row for row in rows if not row["applied"]]
    assert (stale["origin"], stale["status_after"]) == ("order", "filled")
    assert stale["reason"]


async def test_a_way_is_for_members_and_admins_alone(desk: World) -> None:
    order = await filled(desk)
    admin = await make_user(desk.migrate, "admin")
    whole = await seen(desk, TIMELINE, order["order_id"])
    assert await seen(desk, TIMELINE, order["order_id"], user_id=admin) == whole
    assert await seen(desk, TIMELINE, order["order_id"], user_id=desk.stranger) == []
    assert await seen(desk, TIMELINE, order["order_id"], user_id=uuid4()) == []
    assert await read(desk.database, None, TIMELINE, order["order_id"]) == []
    assert await seen(desk, TIMELINE, 999_999) == []


async def test_the_way_is_found_by_indexes_however_long_the_logs_are(desk: World) -> None:
    order = await filled(desk)
    await desk.root.execute("INSERT INTO app.events_done SELECT g, 0, $1, 'order.place.v1', $2,"
        " '{}', 'r', 1, 'accepted', now(), now() FROM generate_series(1000, 6000) AS g",
        *(desk.account, order["order_id"] + 1000),
    )  # fmt: skip
    await desk.root.execute(
        "INSERT INTO audit.audit_log SELECT $1, g, 0, 'a', 'b', 'order.x',"
        " jsonb_build_object('order_id', g), '', '' FROM generate_series(1000, 6000) AS g",
        desk.account,
    )
    await desk.root.execute("ANALYZE")
    body = await desk.root.fetchval(
        "SELECT prosrc FROM pg_proc WHERE oid = 'reporting.order_timeline'::regproc"
    )
    # As the function runs: as the owner, below the policies of the tables.
    await desk.migrate.execute("SET ROLE app_owner")
    body = body.replace("p_order_id", str(order["order_id"]))
    plan = "\n".join(row[0] for row in await desk.migrate.fetch(f"EXPLAIN {body}"))
    for index in ("audit_log_order_idx", "events_done_default_order_id_idx"):
        assert index in plan, plan
    assert "Seq Scan on audit_log" not in plan, plan
    assert "Seq Scan on events_done" not in plan, plan


# --- health ---------------------------------------------------------------------------------


async def test_freshness_is_told_by_the_clock_of_the_database(desk: World) -> None:
    (row,) = await seen(desk, HEALTH, [desk.account, desk.other])
    assert abs(row["read_at"] - datetime.now(UTC)) < timedelta(seconds=60)
    assert (row["price_source"], row["link_at"]) == ("replay", None)
    assert row["read_at"] >= row["price_received_at"]
    assert (row["outbox_pending"], row["outbox_oldest_s"]) == (0, None)
    await desk.put([], desk.account)
    (one,) = await seen(desk, HEALTH, [desk.account])
    (both,) = await seen(desk, HEALTH, [desk.account, desk.other])
    assert (one["link_at"] is not None, both["link_at"]) == (True, None)
    await desk.put([], desk.other)
    (both,) = await seen(desk, HEALTH, [desk.account, desk.other])
    assert both["link_at"] == one["link_at"]


async def test_what_is_owed_is_counted_for_the_accounts_asked_for(desk: World) -> None:
    await desk.place()
    (row,) = await seen(desk, HEALTH, [desk.account])
    assert (row["outbox_pending"], row["outbox_oldest_s"] >= 0) == (1, True)
    (row,) = await seen(desk, HEALTH, [desk.other])
    assert row["outbox_pending"] == 0


async def test_others_learn_nothing_of_an_account_from_its_health(desk: World) -> None:
    await desk.place()
    await desk.put([], desk.account)
    (row,) = await seen(desk, HEALTH, [desk.account], user_id=desk.stranger)
    assert (row["outbox_pending"], row["link_at"]) == (0, None)
    assert row["price_received_at"] is not None
    assert await read(desk.database, None, HEALTH, [desk.account]) == []


# --- prices ---------------------------------------------------------------------------------


async def quotes(desk: World, *prices: tuple[datetime, object]) -> None:
    """Write sampled quotes of AAPL."""
    await desk.root.execute("DELETE FROM market.quotes")
    for at, price in prices:
        insert = "INSERT INTO market.quotes VALUES (1, $1, $2, 'replay')"
        await desk.root.execute(insert, at, Decimal(str(price)))


async def position(desk: World) -> asyncpg.Record:
    """Read the position in AAPL."""
    query = "SELECT * FROM reporting.positions WHERE account_id = ANY ($1)"
    (row,) = await seen(desk, query, [desk.account])
    return row


async def test_a_position_shows_the_last_hour_and_the_change_of_the_day(desk: World) -> None:
    await filled(desk)
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    minute = now.replace(second=0, microsecond=0)
    await quotes(
        desk,
        (midnight - timedelta(days=8), 1),
        (midnight - timedelta(days=1, hours=2), 60),
        (midnight - timedelta(days=1, hours=1), 80),
        (minute - timedelta(minutes=2), 97),
        (minute - timedelta(minutes=2) + timedelta(seconds=5), 98),
        (minute - timedelta(minutes=1), 99),
    )
    row = await position(desk)
    assert row["recent_prices"] == [98, 99]
    # Within minutes of midnight, yesterday's last price is one of the newest.
    if now - midnight > timedelta(minutes=3):
        assert row["day_change"] == Decimal("0.25")
    assert row["tick_size"] == Decimal("0.01")


async def test_without_quotes_there_is_no_change_and_no_line(desk: World) -> None:
    await filled(desk)
    await quotes(desk)
    row = await position(desk)
    assert (row["recent_prices"], row["day_change"]) == ([], None)


async def test_a_flat_position_costs_no_reading_of_quotes(desk: World) -> None:
    order = await filled(desk)
    assert len((await position(desk))["recent_prices"]) == 1
    sold = await desk.submit(side="sell", quantity=Decimal(10))
    await desk.fill(sold, "10", status="filled")
    row = await position(desk)
    assert (row["quantity"], row["recent_prices"]) == (0, [])
    assert order["order_id"] != sold["order_id"]


async def bars(desk: World, resolution: str, *closes: tuple[datetime, int]) -> None:
    """Load bars of AAPL."""
    rows = [
        {
            "symbol": "AAPL",
            "resolution": resolution,
            "bar_at": at.isoformat(),
            "open": str(close - 1),
            "high": str(close + 5),
            "low": str(close - 5),
            "close": str(close),
            "volume": "10",
        }
        for at, close in closes
    ]
    await desk.migrate.execute("SELECT app.sp_bars_put('replay', $1)", json.dumps(rows))


async def test_a_long_span_is_drawn_in_few_bars_that_keep_highs_and_lows(desk: World) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    await bars(desk, "1d", *((start + timedelta(days=d), 100 + d) for d in range(90)))
    until = start + timedelta(days=400)
    whole = await seen(desk, BARS, "AAPL", start, until, 1500)
    assert [row["close"] for row in whole] == [100 + d for d in range(90)]
    rows = await seen(desk, BARS, "AAPL", start, until, 9)
    assert [row["bar_at"] for row in rows] == [start + timedelta(days=10 * n) for n in range(9)]
    first = rows[0]
    assert [first[name] for name in ("open", "high", "low", "close", "volume")] == [
        *(99, 114, 95, 109, 100),
    ]
    assert await seen(desk, BARS, "NOPE", start, until, 9) == []
    assert await read(desk.database, None, BARS, "AAPL", start, until, 9) == []


async def test_a_short_span_is_made_of_quotes_and_falls_back_to_bars(desk: World) -> None:
    await set_price(desk.migrate, "AAPL", "100")
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    await bars(desk, "1d", (today, 50))
    day, week = now - timedelta(days=1), now - timedelta(days=7)
    until = now + timedelta(minutes=1)
    (row,) = await seen(desk, BARS, "AAPL", day, until, 100)
    assert (row["open"], row["close"], row["volume"]) == (100, 100, 0)
    (row,) = await seen(desk, BARS, "AAPL", week, until, 100)
    assert row["close"] == 50
    await quotes(desk)
    (row,) = await seen(desk, BARS, "AAPL", day, until, 100)
    assert row["close"] == 50


async def test_the_finest_bars_for_a_span_are_taken(desk: World) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    await bars(desk, "1d", (start, 10))
    await bars(desk, "1h", (start, 20), (start + timedelta(hours=1), 21))
    await bars(desk, "1m", (start, 30))

    async def closes(**span: int) -> list[Decimal]:
        rows = await seen(desk, BARS, "AAPL", start, start + timedelta(**span), None)
        return [row["close"] for row in rows]

    assert await closes(hours=5) == [30]
    assert await closes(days=5) == [20, 21]
    assert await closes(days=100) == [10]
