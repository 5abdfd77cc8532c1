"""Kinds of order, replace, cancel-all and halt, clicked in a real browser on the whole platform."""

import re
import uuid
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest
from browser_client import CHROMIUM, REPLACE_AT, Person
from platform_client import Platform, Trader, eventually
from playwright.async_api import Browser, expect

pytestmark = [
    pytest.mark.platform,
    pytest.mark.xdist_group("platform"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no browser here: apt-get install chromium, then run again"
    ),
]


async def price_of(trader: Trader, times: str) -> Decimal:
    """The last price, so many times."""
    quote = (await trader.client.get("/api/lmdb/quotes/AAPL")).json()
    return (Decimal(quote["price"]) * Decimal(times)).quantize(Decimal("0.01"))


async def order_of(database: asyncpg.Connection, client_order_id: str) -> dict[str, Any]:
    """An order as the database has it."""
    row = await database.fetchrow(
        "SELECT * FROM app.orders WHERE client_order_id = $1", client_order_id
    )
    return dict(row or {})


async def resting(trader: Trader, database: asyncpg.Connection) -> str:
    """Place an order that waits at the venue; answers its client order id."""
    key = f"e2e-{uuid.uuid4().hex[:20]}"
    price = await price_of(trader, "0.95")
    answer = await trader.place(
        key, order_type="limit", limit_price=str(price), time_in_force="gtc"
    )
    assert answer.status_code == httpx.codes.CREATED, answer.text
    await eventually(
        lambda: order_of(database, key), lambda order: order.get("status") == "accepted"
    )
    return key


async def test_a_stop_limit_order_until_a_time_is_placed_and_replaced_in_its_row(
    platform: Platform, browser: Browser, database: asyncpg.Connection, trader: Trader
) -> None:
    stop, limit = await price_of(trader, "1.03"), await price_of(trader, "1.04")
    person = await Person.at(browser, platform)
    await person.sign_in("trader", "/Trades")
    await person.drawn("Trades")
    await person.choose("Type", "Stop-limit")
    await person.choose("Time in force", "GTD (until a time)")
    await person.page.get_by_label("Stop price").fill(str(stop))
    await person.page.get_by_label("Limit price").fill(str(limit))
    dialog = await person.review(9)
    await expect(dialog).to_contain_text(f"stop {stop} limit {limit}, GTD until")
    ticket = person.ticket_id()
    await dialog.get_by_role("button", name="Send order").click()
    await expect(person.page.get_by_text("is recorded")).to_contain_text("buy 9 AAPL")
    order = await eventually(
        lambda: order_of(database, ticket), lambda row: row.get("status") == "accepted"
    )
    assert (order["order_type"], order["time_in_force"]) == ("stop_limit", "gtd")
    assert (order["stop_price"], order["limit_price"]) == (stop, limit)
    assert order["expires_at"] > order["created_at"]

    await replaces(person, order)
    changed = await eventually(
        lambda: order_of(database, ticket),
        lambda row: (row["quantity"], row["status"]) == (7, "accepted"),
    )
    assert changed["limit_price"] == limit
    assert (await trader.cancel(str(order["order_id"]))).status_code == httpx.codes.ACCEPTED
    assert person.breaches() == []


async def replaces(person: Person, order: dict[str, Any]) -> None:
    """Press the button of the first row, and ask for another quantity."""
    label = f"Replace {order['order_id']}"
    await eventually(lambda: person.rows("Orders"), lambda rows: label in str(rows[:1]))
    await person.press_in("Orders", REPLACE_AT)
    dialog = person.page.get_by_role("dialog", name="Replace order")
    await dialog.get_by_label("Quantity in all").fill("7")
    await dialog.get_by_role("button", name="Send change").click()
    await expect(dialog).to_have_count(0)


async def test_all_orders_of_an_account_are_canceled_after_the_typed_phrase(
    platform: Platform, browser: Browser, database: asyncpg.Connection, trader: Trader
) -> None:
    keys = [await resting(trader, database) for _ in range(2)]
    person = await Person.at(browser, platform)
    await person.sign_in("trader", "/Trades")
    await person.page.get_by_role("button", name="Emergency").click()
    press = person.page.get_by_role("button", name="Cancel all orders")
    await press.click()
    await expect(person.page.get_by_text("Type CANCEL ALL to confirm.")).to_be_visible()
    assert (await order_of(database, keys[0]))["status"] == "accepted"

    await person.page.get_by_label("Type CANCEL ALL").fill("CANCEL ALL")
    await press.click()
    await expect(person.page.get_by_text("Cancel asked for")).to_be_visible()
    for key in keys:
        await eventually(
            lambda key=key: order_of(database, key),  # type: ignore[misc]
            lambda order: order["status"] == "canceled",
        )
    assert person.breaches() == []


async def test_a_halt_is_seen_by_all_and_taken_back_by_an_administrator(
    platform: Platform, browser: Browser, trader: Trader
) -> None:
    account_id = trader.user["accounts"][0]
    person = await Person.at(browser, platform)
    await person.sign_in("trader", "/Trades")
    await person.page.get_by_role("button", name="Emergency").click()
    await person.choose("Switch", "Halt trading")
    await person.page.get_by_label("Reason").fill("a drill")
    await person.page.get_by_label("Type HALT").fill("HALT")
    try:
        await person.page.get_by_role("button", name="Halt trading").click()
        await expect(person.page.get_by_text(re.compile("Trading of .* is halted"))).to_be_visible()
        answer = await trader.place(f"e2e-{uuid.uuid4().hex[:20]}")
        assert answer.json()["reason_code"] == "TRADING_HALTED"
        await person.page.reload()
        await expect(person.page.get_by_text(re.compile("is halted: a drill"))).to_be_visible()
    finally:
        async with Trader(platform, "admin") as admin:
            scope = {"scope": "account", "scope_id": account_id, "reason": "the drill is over"}
            resumed = await admin.client.post("/api/trading/resume", json=scope)
    assert resumed.json()["state"] == "active"
    assert person.breaches() == []
