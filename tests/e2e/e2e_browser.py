"""The trader's way through the screen, in a real browser on the whole platform."""

import os
import re
import signal
import uuid
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pytest
from browser_client import AXE, CHROMIUM, PHONE, Person
from platform_client import Platform, Trader, eventually
from playwright.async_api import Browser, expect

pytestmark = [
    pytest.mark.platform,
    pytest.mark.xdist_group("platform"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no browser here: apt-get install chromium, then run again"
    ),
]
needs_axe = pytest.mark.skipif(
    not AXE.is_file(), reason="axe-core is not in .cache: run scripts/fetch_axe.sh"
)

RECORDED = re.compile("is recorded|already recorded")
FIGURES = re.compile(r"Equity \(USD\)|Gross exposure|Order ticket|Timeline")
# What a browser notes when it finds the door shut for a moment, or for good.
OUTAGE = (
    "/_stcore/",
    "WebSocket connection to ",
    "/static/js/: Cannot send rerun backMessage when disconnected from server.",
    "/static/js/: Client Error: response received with status 503 when attempting to reach",
    "/static/js/: Connection failed with status 503",
)


async def placed(database: asyncpg.Connection, client_order_id: str) -> list[dict[str, Any]]:
    """The orders under an id, as the database has them."""
    found = await database.fetch(
        "SELECT * FROM app.orders WHERE client_order_id = $1", client_order_id
    )
    return [dict(row) for row in found]


async def filled(database: asyncpg.Connection, client_order_id: str) -> dict[str, Any]:
    """The one order under an id, once it is filled and nothing is owed to the venue."""

    async def look() -> list[dict[str, Any]]:
        owed = await database.fetchval("SELECT count(*) FROM app.events_outbox")
        return [] if owed else await placed(database, client_order_id)

    orders = await eventually(look, lambda found: any(it["status"] == "filled" for it in found))
    assert len(orders) == 1
    return orders[0]


async def check_placed_once(
    database: asyncpg.Connection, platform: Platform, client_order_id: str, count_before: int
) -> None:
    """The order is there once for the database, once for the venue, and there is no other."""
    await filled(database, client_order_id)
    assert await database.fetchval("SELECT count(*) FROM app.orders") == count_before + 1
    at_venue = [
        order
        for order in await platform.venue_orders()
        if order["client_order_id"] == client_order_id
    ]
    assert len(at_venue) == 1


async def test_a_trader_signs_in_places_an_order_sees_it_filled_and_signs_out(
    platform: Platform, browser: Browser, database: asyncpg.Connection
) -> None:
    trader = await Person.at(browser, platform)
    await trader.sign_in("trader")
    await trader.drawn("Dashboard")

    await trader.open("Trades")
    dialog = await trader.review(7)
    await expect(dialog).to_contain_text("Buy 7 AAPL")
    await expect(dialog).to_contain_text("PAPER")
    await expect(dialog.get_by_role("row", name="Estimated fee")).to_contain_text("USD")
    ticket = trader.ticket_id()
    assert await placed(database, ticket) == []
    await dialog.get_by_role("button", name="Send order").click()
    await expect(trader.page.get_by_text("is recorded")).to_contain_text("buy 7 AAPL")
    order = await filled(database, ticket)
    assert (order["cum_quantity"], order["side"]) == (7, "buy")

    await see_the_timeline(trader, order)
    await see_the_books(trader, database)
    await leave(trader)
    assert trader.breaches() == []


async def see_the_timeline(trader: Person, order: dict[str, Any]) -> None:
    """From the click to the fill, on the page where the order was placed."""
    name = f"Timeline of order {order['order_id']}"
    rows = await eventually(lambda: trader.rows(name), lambda rows: quantity_filled(rows) == 7)
    assert rows[0][3].startswith("order.place")
    summary = trader.page.get_by_text("buy 7 AAPL, market, day").last
    await expect(summary).to_contain_text("filled 7 at")


def quantity_filled(rows: list[list[str]]) -> int:
    """What the steps `fill: 7 at 89.62, ...` add up to: a market order may take several."""
    return sum(int(row[3].split()[1]) for row in rows if row[3].startswith("fill: "))


async def see_the_books(trader: Person, database: asyncpg.Connection) -> None:
    """The dashboard says what the database says."""
    await trader.open("Dashboard")
    accounts = [int(account_id) for account_id in _account_ids(trader)]
    cash = await database.fetchval(
        "SELECT sum(amount) FROM app.cash_balances WHERE account_id = ANY($1)", accounts
    )
    await expect(trader.figure("Cash")).to_have_text(f"{cash:,.2f}")
    held = await database.fetchval(
        "SELECT quantity FROM app.positions JOIN app.instruments USING (instrument_id)"
        " WHERE account_id = $1 AND symbol = 'AAPL'",
        accounts[0],
    )
    await eventually(
        lambda: trader.rows("Open positions"),
        lambda rows: any(row[0] == "AAPL" and Decimal(row[2]) == held for row in rows),
    )
    await expect(trader.figure("Working orders")).to_be_visible()


def _account_ids(trader: Person) -> list[str]:
    user = next(it for it in trader.platform.demo["users"] if it["role"] == "trader")
    ids: list[str] = user["accounts"]
    return ids


async def leave(trader: Person) -> None:
    """Sign out; what the back button then leads to shows nothing of what was there."""
    await trader.page.get_by_role("button", name="trader").click()
    await trader.page.get_by_role("link", name="Sign out").click()
    await expect(trader.page.get_by_text("You are signed out.")).to_be_visible()
    await expect(trader.page.get_by_label("E-mail address")).to_be_visible()

    await trader.page.go_back(wait_until="commit")
    seen: list[str] = []

    async def look() -> str:
        seen.append(await trader.seen())
        return seen[-1]

    await eventually(look, lambda text: "E-mail address" in text)
    assert [text for text in seen if FIGURES.search(text)] == []
    assert "/auth/login" in trader.page.url


async def test_twenty_clicks_and_a_reload_in_the_middle_make_one_order(
    platform: Platform, browser: Browser, database: asyncpg.Connection
) -> None:
    trader = await Person.at(browser, platform)
    await trader.sign_in("trader", "/Trades")
    count_before = await database.fetchval("SELECT count(*) FROM app.orders")
    await trader.review(3)
    ticket = trader.ticket_id()

    await click_ten_times(trader)
    await trader.page.reload(wait_until="commit")
    await trader.drawn("Trades")
    await expect(trader.page.get_by_role("heading", name="Order ticket")).to_be_visible()
    if trader.ticket_id() == ticket:
        # The page was faster than the order, so a trader would send it again.
        await trader.review(3)
        await click_ten_times(trader)
    await expect(trader.page.get_by_text(RECORDED)).to_be_visible()

    # Whatever was clicked before this was dealt with before this.
    await trader.page.get_by_text("All orders", exact=True).click()
    await trader.table("Orders").wait_for()
    await check_placed_once(database, platform, ticket, count_before)
    assert trader.breaches() == []


async def test_twenty_clicks_make_one_order(
    platform: Platform, browser: Browser, database: asyncpg.Connection
) -> None:
    trader = await Person.at(browser, platform)
    await trader.sign_in("trader", "/Trades")
    count_before = await database.fetchval("SELECT count(*) FROM app.orders")
    await trader.review(4)
    ticket = trader.ticket_id()
    await click_ten_times(trader)
    await click_ten_times(trader)
    await expect(trader.page.get_by_text(RECORDED)).to_be_visible()
    await trader.page.get_by_text("All orders", exact=True).click()
    await trader.table("Orders").wait_for()
    await check_placed_once(database, platform, ticket, count_before)
    # The next order is another one.
    await trader.review(4)
    await trader.page.wait_for_url(lambda url: ticket not in url)
    assert trader.breaches() == []


async def click_ten_times(trader: Person) -> None:
    """As fast as a machine can; a button that is gone meanwhile is clicked no more."""
    await trader.page.evaluate(
        """() => {
            for (let count = 0; count < 10; count += 1) {
                [...document.querySelectorAll('[role=dialog] button')]
                    .find(button => button.textContent.startsWith('Send order'))?.click();
            }
        }"""
    )


async def test_an_order_that_the_api_did_not_answer_is_unknown_and_then_sent_once(
    platform: Platform, browser: Browser, database: asyncpg.Connection
) -> None:
    trader = await Person.at(browser, platform)
    await trader.sign_in("trader", "/Trades")
    count_before = await database.fetchval("SELECT count(*) FROM app.orders")
    dialog = await trader.review(5)
    ticket = trader.ticket_id()

    os.kill(platform.status()["services"]["api"]["pid"], signal.SIGKILL)
    await dialog.get_by_role("button", name="Send order").click()
    await expect(trader.page.get_by_text("State unknown, checking.")).to_be_visible()
    assert await placed(database, ticket) == []
    await expect(trader.page.get_by_text(ticket)).to_be_visible()

    await api_is_back(platform)
    await trader.page.get_by_role("button", name="Send again").click()
    await expect(trader.page.get_by_text("is recorded")).to_contain_text("buy 5 AAPL")
    await check_placed_once(database, platform, ticket, count_before)
    assert trader.breaches(*OUTAGE) == []


async def test_figures_that_nobody_vouches_for_are_marked_until_the_api_is_back(
    platform: Platform, browser: Browser
) -> None:
    trader = await Person.at(browser, platform)
    await trader.sign_in("trader")
    await expect(trader.figure("Equity (USD)")).to_be_visible()
    screen = trader.page.locator("[data-test-connection-state]")
    api = platform.status()["services"]["api"]["pid"]
    os.kill(api, signal.SIGSTOP)
    try:
        await expect(screen).not_to_have_attribute("data-test-connection-state", "CONNECTED")
        await expect(trader.page.get_by_test_id("stMain")).not_to_have_css("opacity", "1")
    finally:
        os.kill(api, signal.SIGCONT)
    await expect(screen).to_have_attribute("data-test-connection-state", "CONNECTED")
    await expect(trader.page.get_by_test_id("stMain")).to_have_css("opacity", "1")
    await expect(trader.figure("Equity (USD)")).to_be_visible()
    assert trader.breaches(*OUTAGE) == []


async def api_is_back(platform: Platform) -> None:
    """The supervisor has started it again, and it is ready."""

    async def look() -> int:
        async with httpx.AsyncClient(base_url=platform.url, timeout=5) as client:
            return (await client.get("/api/health/ready")).status_code

    await eventually(look, lambda status: status == httpx.codes.OK)


async def test_a_viewer_sees_an_order_without_a_way_to_place_or_cancel(
    platform: Platform, browser: Browser, trader: Trader
) -> None:
    order = await resting_order(trader)
    viewer = await Person.at(browser, platform)
    await viewer.sign_in("viewer", "/Trades")
    await sees(viewer, order["order_id"])
    page = viewer.page
    await expect(page.get_by_role("heading", name="Order ticket")).to_have_count(0)
    await expect(page.get_by_role("button", name=re.compile("Review|Cancel"))).to_have_count(0)
    assert "Cancel" not in str(await viewer.rows("Orders"))
    assert viewer.breaches() == []


async def test_a_trader_cancels_a_resting_order_in_its_row(
    platform: Platform, browser: Browser, trader: Trader, database: asyncpg.Connection
) -> None:
    order = await resting_order(trader)
    person = await Person.at(browser, platform)
    await person.sign_in("trader", "/Trades")
    await sees(person, order["order_id"])
    assert f"Cancel {order['order_id']}" in str(await person.rows("Orders"))

    # The newest order is in the first row; its button is painted, so a place must do.
    table = await person.table("Orders").bounding_box()
    assert table
    await person.page.mouse.click(table["x"] + 125, table["y"] + 48)

    async def state() -> str:
        return str((await placed(database, order["client_order_id"]))[0]["status"])

    await eventually(state, lambda status: status == "canceled")
    await eventually(
        lambda: person.rows("Orders"),
        lambda rows: all(row[0] != order["order_id"] for row in rows),
    )
    assert person.breaches() == []


async def resting_order(trader: Trader) -> dict[str, Any]:
    """An order that waits at the venue, because nobody sells so low."""
    answer = await trader.client.get("/api/lmdb/quotes/AAPL")
    price = (Decimal(answer.json()["price"]) * Decimal("0.95")).quantize(Decimal("0.01"))
    placing = await trader.place(
        f"e2e-{uuid.uuid4().hex}", order_type="limit", limit_price=str(price), time_in_force="gtc"
    )
    assert placing.status_code == httpx.codes.CREATED, placing.text
    key = placing.json()["client_order_id"]

    async def look() -> dict[str, Any]:
        order: dict[str, Any] = (await trader.order(key)).json()
        return order

    return await eventually(look, lambda order: order["status"] == "accepted")


async def sees(person: Person, order_id: str) -> None:
    """The order is in the table of working orders."""
    await eventually(
        lambda: person.rows("Orders"), lambda rows: any(row[0] == order_id for row in rows)
    )


async def test_a_session_that_is_revoked_leaves_no_figure_on_the_screen(
    platform: Platform, browser: Browser
) -> None:
    trader = await Person.at(browser, platform)
    await trader.sign_in("trader", "/?range=1H")
    await expect(trader.figure("Equity (USD)")).to_be_visible()

    cookies = {it["name"]: it["value"] for it in await trader.context.cookies()}
    headers = {"rid": "anti-csrf", "Origin": platform.url}
    async with httpx.AsyncClient(base_url=platform.url, headers=headers) as elsewhere:
        elsewhere.cookies.update(cookies)
        answer = await elsewhere.post("/auth/signout")
        assert answer.status_code == httpx.codes.OK

    # The gate's watcher asks every two seconds, and the page needs a moment to go.
    await trader.page.wait_for_url("**/auth/login?next=*", timeout=10_000)
    await expect(trader.page.get_by_label("E-mail address")).to_be_visible()
    assert not FIGURES.search(await trader.seen())
    assert "range%3D1H" in trader.page.url
    assert trader.breaches(*OUTAGE) == []


async def test_nothing_is_wider_than_a_phone(platform: Platform, browser: Browser) -> None:
    phone = await Person.at(browser, platform, viewport=PHONE, is_mobile=True, has_touch=True)
    await phone.page.goto(f"{platform.url}/auth/login")
    await expect(phone.page.get_by_label("E-mail address")).to_be_visible()
    assert await phone.overflow() == []
    for path, title in (("/", "Dashboard"), ("/Trades", "Trades"), ("/Reports", "Reports")):
        if path == "/":
            await phone.sign_in("trader")
        else:
            await phone.page.goto(f"{platform.url}{path}")
        await phone.drawn(title)
        assert await phone.overflow() == [], title
    assert phone.breaches() == []


@needs_axe
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_pages_have_no_serious_barrier(
    platform: Platform, browser: Browser, theme: Any
) -> None:
    person = await Person.at(browser, platform, color_scheme=theme)
    await person.page.goto(f"{platform.url}/auth/login")
    await expect(person.page.get_by_label("E-mail address")).to_be_visible()
    assert await person.findings() == []

    await person.sign_in("trader")
    for title in ("Dashboard", "Reports", "Trades"):
        await person.open(title)
        assert await person.findings() == [], title
    await person.review(2)
    assert await person.findings() == [], "the dialog"
    assert person.breaches() == []
