"""Takes pictures of the pages, for a person to look at: `make screenshots`."""

import asyncio
import signal
import sys
import tempfile
import uuid
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from browser_client import CHROMIUM, DESK, PHONE, REPLACE_AT, Person, chromium
from platform_client import ROOT, Platform, Trader, eventually
from playwright.async_api import Browser, ViewportSize, expect

TARGET = ROOT / ".run/screenshots"
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESK, "color_scheme": "light"},
    "dark": {"viewport": DESK, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "is_mobile": True, "has_touch": True},
    "phone_dark": {"viewport": PHONE, "color_scheme": "dark", "is_mobile": True, "has_touch": True},
}
# Pictures have time: the machine that takes them may be busy.
PATIENCE_MS = 120_000
# What was traded, so that no page is empty: symbol, side, quantity, and how far below the market.
ORDERS = [
    ("AAPL", "buy", 60, None),
    ("MSFT", "sell", 40, None),
    ("IBM", "buy", 25, None),
    ("GOOG", "buy", 15, None),
    ("AAPL", "sell", 20, None),
    ("IBM", "buy", 12_000, None),
    ("AAPL", "buy", 30, Decimal("0.05")),
    ("MSFT", "buy", 10, Decimal("0.04")),
]


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the pictures of a screen go."""

    screen: str

    async def take(self, person: Person, name: str) -> None:
        """The whole page at once: Streamlit scrolls inside, so the window is made as high."""
        target = TARGET / f"{name}_{self.screen}.png"
        window: ViewportSize = SCREENS[self.screen]["viewport"]
        height = await person.height(window)
        await person.page.set_viewport_size({"width": window["width"], "height": height})
        await person.page.screenshot(path=target)
        await person.page.set_viewport_size(window)
        sys.stdout.write(f"{target.relative_to(ROOT)}\n")


async def trade(platform: Platform) -> None:
    """Place the orders and wait until they are where they belong."""
    async with Trader(platform, "trader") as trader:
        for symbol, side, quantity, below in ORDERS:
            terms: dict[str, Any] = {"symbol": symbol, "side": side, "quantity": str(quantity)}
            if below is not None:
                terms |= await resting(trader, symbol, below)
            answer = await trader.place(uuid.uuid4().hex, **terms)
            if answer.is_error:
                raise RuntimeError(f"{symbol}: {answer.text}")
            key = answer.json()["client_order_id"]
            await eventually(lambda key=key: status(trader, key), lambda it: it in SETTLED)  # type: ignore[misc]


SETTLED = ("filled", "accepted", "denied")


async def status(trader: Trader, client_order_id: str) -> str:
    return str((await trader.order(client_order_id)).json()["status"])


async def resting(trader: Trader, symbol: str, below: Decimal) -> dict[str, str]:
    """The terms of an order so far below the market that it waits."""
    quote = (await trader.client.get(f"/api/lmdb/quotes/{symbol}")).json()
    price = (Decimal(quote["price"]) * (1 - below)).quantize(Decimal("0.01"))
    return {"order_type": "limit", "limit_price": str(price), "time_in_force": "gtc"}


async def settle(person: Person, title: str) -> None:
    """All of a page is drawn, its charts and tables too."""
    await person.drawn(title)
    page = person.page
    # Asked as a whole: a panel that is drawn anew takes its chart away from under a list of them.
    for waiting in (
        page.get_by_test_id("stSkeleton").filter(visible=True),
        page.get_by_test_id("stPlotlyChart").filter(has_not=page.locator(".main-svg")),
        page.get_by_test_id("stDataFrame").filter(has_not=page.get_by_test_id("data-grid-canvas")),
    ):
        await expect(waiting).to_have_count(0, timeout=PATIENCE_MS)


async def walk(browser: Browser, platform: Platform, screen: str) -> None:
    """Through all pages on one kind of screen."""
    camera = Camera(screen)
    person = await Person.at(browser, platform, **SCREENS[screen])
    await person.page.goto(f"{platform.url}/auth/login")
    await person.page.get_by_label("E-mail address").wait_for()
    await camera.take(person, "login")
    await person.sign_in("trader")
    await settle(person, "Dashboard")
    await person.table("Open positions").wait_for()
    await camera.take(person, "dashboard")
    for title in ("Reports", "Trades"):
        await person.page.goto(f"{platform.url}/{title}")
        await settle(person, title)
        if title == "Trades":
            await person.page.get_by_text("All orders", exact=True).click()
            await person.table("Orders").wait_for()
            await settle(person, title)
        await camera.take(person, title.lower())
    await person.page.get_by_role("button", name="Emergency").click()
    await person.page.get_by_label("Type CANCEL ALL").wait_for()
    await camera.take(person, "emergency")
    await person.page.keyboard.press("Escape")
    await expect(person.page.get_by_label("Type CANCEL ALL")).to_be_hidden()
    await person.press_in("Orders", REPLACE_AT)
    await person.page.get_by_role("dialog", name="Replace order").wait_for()
    await camera.take(person, "replace")
    await person.page.get_by_role("button", name="Back").click()
    await person.review(20)
    await camera.take(person, "confirm")
    await person.context.close()
    await watch(browser, platform, screen)


async def watch(browser: Browser, platform: Platform, screen: str) -> None:
    """What somebody is shown who may only look."""
    camera = Camera(screen)
    person = await Person.at(browser, platform, **SCREENS[screen])
    await person.sign_in("viewer", "/Trades")
    await settle(person, "Trades")
    await camera.take(person, "trades_viewer")
    await person.page.get_by_role("button", name="viewer").click()
    await person.page.get_by_role("button", name="Notifications").click()
    dialog = person.page.get_by_role("dialog", name="Notifications")
    # A name of its own: a new channel never replaces another.
    await dialog.get_by_label("Name", exact=True).fill(f"desk-{screen}")
    await dialog.get_by_label("Address", exact=True).fill("jsons://hook.invalid/news")
    await dialog.get_by_role("button", name="Save").click()
    await dialog.get_by_text(f"desk-{screen} is saved.").wait_for()
    await camera.take(person, "notifications")
    await person.context.close()


async def first_day(browser: Browser, platform: Platform) -> None:
    """Before anything was traded."""
    person = await Person.at(browser, platform, **SCREENS["light"])
    await person.sign_in("admin")
    for title in ("Dashboard", "Reports", "Trades"):
        await person.page.goto(f"{platform.url}/{title if title != 'Dashboard' else ''}")
        await settle(person, title)
        await Camera("light").take(person, f"{title.lower()}_first_day")
    await person.context.close()


async def run() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        platform = Platform(Path(folder))
        try:
            platform.start()
            async with chromium() as browser:
                await first_day(browser, platform)
                await trade(platform)
                for screen in SCREENS:
                    await walk(browser, platform, screen)
        finally:
            platform.stop()


def main() -> int:
    """Take them all, or say what is missing."""
    if CHROMIUM is None:
        sys.stderr.write("screenshots: no browser here: apt-get install chromium\n")
        return 1
    # Ended from outside, it stops its platform as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
