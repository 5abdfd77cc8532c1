"""The order's way on the whole platform: signed in through Caddy, filled once at the venue."""

import uuid
from decimal import Decimal

import asyncpg
import httpx
import pytest
from platform_client import Platform, Trader, eventually

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]


def new_id() -> str:
    return f"e2e-{uuid.uuid4().hex[:20]}"


async def drained(database: asyncpg.Connection) -> None:
    """Wait until nothing is owed to the venue and nothing of it is unread."""

    async def left() -> int:
        count: int = await database.fetchval(
            "SELECT (SELECT count(*) FROM app.events_outbox)"
            " + (SELECT count(*) FROM app.inbox WHERE applied_at IS NULL)"
        )
        return count

    await eventually(left, lambda count: count == 0)


async def test_a_market_order_is_recorded_once_and_filled_once(
    platform: Platform, trader: Trader
) -> None:
    key = new_id()
    first = await trader.place(key)
    assert first.status_code == httpx.codes.CREATED, first.text
    assert first.json()["status"] == "new"

    again = await trader.place(key)
    assert again.status_code == httpx.codes.OK
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["order_id"] == first.json()["order_id"]

    other = await trader.place(key, quantity="11")
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert other.json()["code"] == "idempotency_key_reused"
    assert other.headers["Content-Type"] == "application/problem+json"

    order = await trader.settled(key, "filled")
    assert Decimal(order["cum_quantity"]) == 10
    assert Decimal(order["average_price"]) > 0

    database = await platform.database()
    try:
        await drained(database)
        await check_books(database, platform, key)
    finally:
        await database.close()


async def check_books(database: asyncpg.Connection, platform: Platform, key: str) -> None:
    """One order, its executions, position, cash, whole chains, one order at the venue."""
    rows = await database.fetch("SELECT * FROM app.orders WHERE client_order_id = $1", key)
    assert len(rows) == 1
    account_id = rows[0]["account_id"]

    executed = await database.fetchval(
        "SELECT sum(quantity) FROM app.executions WHERE order_id = $1", rows[0]["order_id"]
    )
    assert executed == rows[0]["cum_quantity"] == 10

    wrong_positions = await database.fetch(
        "SELECT * FROM app.positions AS p WHERE quantity IS DISTINCT FROM ("
        " SELECT sum(CASE e.side WHEN 'buy' THEN e.quantity ELSE -e.quantity END)"
        " FROM app.executions AS e WHERE (e.account_id, e.instrument_id)"
        " = (p.account_id, p.instrument_id))"
    )
    assert wrong_positions == []

    cash = await database.fetchval(
        "SELECT amount FROM app.cash_balances WHERE account_id = $1 AND currency = 'USD'",
        account_id,
    )
    explained = await database.fetchval(
        "SELECT (SELECT sum(amount) FROM app.cash_movements WHERE account_id = $1)"
        " - (SELECT sum(CASE side WHEN 'buy' THEN quantity * price ELSE -quantity * price END"
        "    + fee) FROM app.executions WHERE account_id = $1)",
        account_id,
    )
    assert cash == explained

    for stream in await database.fetch("SELECT stream_id FROM app.streams"):
        verdict = await database.fetchrow(
            "SELECT * FROM app.sp_audit_verify($1)", stream["stream_id"]
        )
        assert verdict["broken_seq"] is None
    actions = await database.fetch(
        "SELECT action FROM audit.audit_log WHERE detail ->> 'order_id' = $1 ORDER BY seq",
        str(rows[0]["order_id"]),
    )
    assert actions[0]["action"] == "order.place"
    assert len(actions) > 1

    at_venue = [o for o in await platform.venue_orders() if o["client_order_id"] == key]
    assert len(at_venue) == 1


async def test_an_order_beyond_a_limit_is_denied_and_never_sent(
    platform: Platform, trader: Trader
) -> None:
    key = new_id()
    answer = await trader.place(key, quantity="99999999")
    assert answer.status_code == httpx.codes.CREATED
    assert answer.json()["status"] == "denied"
    assert answer.json()["reason_code"] == "ORDER_QUANTITY_EXCEEDS_MAX"

    database = await platform.database()
    try:
        await drained(database)
    finally:
        await database.close()
    assert key not in {order["client_order_id"] for order in await platform.venue_orders()}


async def test_a_resting_order_is_canceled(trader: Trader) -> None:
    key = new_id()
    price = await last_price(trader)
    resting = str((price * Decimal("0.95")).quantize(Decimal("0.01")))
    placed = await trader.place(key, order_type="limit", limit_price=resting, time_in_force="gtc")
    assert placed.status_code == httpx.codes.CREATED, placed.text
    assert placed.json()["status"] == "new", placed.text
    await trader.settled(key, "accepted")

    canceled = await trader.cancel(placed.json()["order_id"])
    assert canceled.status_code == httpx.codes.ACCEPTED, canceled.text
    order = await trader.settled(key, "canceled")
    assert Decimal(order["cum_quantity"]) == 0


async def last_price(trader: Trader) -> Decimal:
    """The live price in the hot store, which the venue's quotes keep fresh."""
    answer = await trader.client.get("/api/lmdb/quotes/AAPL")
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.headers["ETag"]
    return Decimal(answer.json()["price"])


async def test_a_stranger_a_viewer_and_a_foreign_account_are_refused(
    platform: Platform, trader: Trader
) -> None:
    async with httpx.AsyncClient(base_url=platform.url) as stranger:
        same_site = {"Origin": platform.url, "rid": "anti-csrf"}
        answer = await stranger.post("/api/orders", json={}, headers=same_site)
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        answer = await stranger.post("/api/orders", json={}, headers={"Origin": "http://evil.test"})
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert answer.json()["code"] == "csrf_rejected"

    async with Trader(platform, "viewer") as viewer:
        answer = await viewer.place(new_id())
        assert answer.status_code == httpx.codes.FORBIDDEN

    foreign = next(
        account["account_id"]
        for account in platform.demo["accounts"]
        if account["account_id"] not in trader.user["accounts"]
    )
    answer = await trader.place(new_id(), account_id=foreign)
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.json()["code"] == "account_not_found"


async def test_a_revoked_session_places_nothing_more(platform: Platform) -> None:
    async with Trader(platform, "trader") as leaving:
        stolen = dict(leaving.client.cookies)
        answer = await leaving.client.post("/auth/signout")
        assert answer.status_code == httpx.codes.OK
        leaving.client.cookies.update(stolen)
        answer = await leaving.place(new_id())
        assert answer.status_code == httpx.codes.UNAUTHORIZED, answer.text
