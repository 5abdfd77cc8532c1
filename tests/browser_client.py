"""A person at the browser: the machine's own Chromium, used through what the pages say."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from platform_client import ROOT, Platform
from playwright.async_api import (
    Browser,
    BrowserContext,
    Error,
    Locator,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)

# Never one that a package downloads: it would be another browser on every machine.
CHROMIUM = shutil.which("chromium")
AXE = ROOT / ".cache/axe-core/axe.min.js"
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# People have it, and it is what a back button could show old figures from.
NOT_OURS = ["--disable-back-forward-cache"]
PATIENCE_MS = 30_000
PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1440, height=900)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
SERIOUS = ("serious", "critical")
BUNDLE = "/static/js/"
# Where the replace button stands in the first row: behind the order's number and its cancel button.
REPLACE_AT = (235, 48)
# What a browser writes about our own pages when all is well, and why.
ALLOWED_COMPLAINTS = (
    # The sign-in page asks whether a session lives, and the browser notes the no.
    "/api/session: Failed to load resource: the server responded with a status of 401",
    "/auth/session/refresh: Failed to load resource: the server responded with a status of 401",
    # Opened at a page, Streamlit's script first looks for its server below that page.
    "/Trades/_stcore/",
    "/Reports/_stcore/",
    # A page that is being left still says a last word.
    "WebSocket is already in CLOSING or CLOSED state.",
)
# The one serious finding that is Streamlit's own: the line inside a figure's card.
ALLOWED_FINDINGS = {"svg-img-alt"}


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser; it and all its pages end with the block."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM, args=SWITCHES, ignore_default_args=NOT_OURS
        )
        try:
            yield browser
        finally:
            await browser.close()


class Person:
    """Someone with a browser of his own; what it asked for and complained of is written down."""

    def __init__(self, platform: Platform, context: BrowserContext, page: Page) -> None:
        self.platform = platform
        self.context = context
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        context.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        context.on("console", self._note)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    @classmethod
    async def at(cls, browser: Browser, platform: Platform, **options: Any) -> Self:
        """Someone at the door, on a desk's screen unless the options say otherwise."""
        context = await browser.new_context(**{"viewport": DESK, **options})
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        return cls(platform, context, await context.new_page())

    def _note(self, message: Any) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            # A socket's complaint names its own address; the bundle's files have changing names.
            if message.text.startswith("WebSocket"):
                self.complaints.append(message.text)
                return
            place = urlsplit(message.location["url"]).path
            place = BUNDLE if place.startswith(BUNDLE) else place
            self.complaints.append(f"{place}: {message.text}")

    async def sign_in(self, role: str, path: str = "/") -> None:
        """Come for a page, be asked who it is, and be led to the page."""
        user = next(user for user in self.platform.demo["users"] if user["role"] == role)
        await self.page.goto(f"{self.platform.url}{path}")
        await self.page.get_by_label("E-mail address").fill(user["email"])
        await self.page.get_by_label("Password", exact=True).fill(user["password"])
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_url(lambda url: "/auth/login" not in url)
        await self.page.get_by_role("main").get_by_role("heading", level=1).wait_for()

    async def open(self, title: str) -> None:
        """Go to another page by the menu."""
        await self.page.get_by_role("link", name=title, exact=True).click()
        await self.drawn(title)

    async def drawn(self, title: str) -> None:
        """Wait until a page is there and its run has ended."""
        await self.page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        await self.page.locator('[data-test-script-state="notRunning"]').first.wait_for()

    async def review(self, quantity: int) -> Locator:
        """Fill the ticket for a market order and have it checked; answers the dialog."""
        await self.page.get_by_label("Quantity", exact=True).fill(str(quantity))
        await self.page.get_by_role("button", name="Review order").click()
        dialog = self.page.get_by_role("dialog", name="Confirm order")
        await dialog.get_by_role("button", name="Send order").wait_for()
        return dialog

    async def choose(self, label: str, option: str) -> None:
        """Choose from a list, and wait until the page has followed."""
        box = self.page.get_by_role("combobox", name=label, exact=False).first
        await box.click()
        await self.page.get_by_role("option", name=option, exact=True).click()
        await self.page.locator('[data-test-script-state="notRunning"]').first.wait_for()

    def ticket_id(self) -> str:
        """The client order id of the ticket on the screen."""
        return parse_qs(urlsplit(self.page.url).query)["ticket"][0]

    def figure(self, name: str) -> Locator:
        """The value of a card."""
        card = self.page.get_by_test_id("stMetric").filter(has_text=name)
        return card.get_by_test_id("stMetricValue")

    def table(self, name: str) -> Locator:
        """A table; the grid is painted, and its text stands beside for those who do not see."""
        return self.page.get_by_role("region", name=name, exact=True)

    async def press_in(self, name: str, place: tuple[int, int]) -> None:
        """Click into the painted grid of a table."""
        # A press outside of the window is nobody's.
        await self.table(name).scroll_into_view_if_needed()
        table = await self.table(name).bounding_box()
        assert table
        await self.page.mouse.click(table["x"] + place[0], table["y"] + place[1])

    async def rows(self, name: str) -> list[list[str]]:
        """The texts of a table as they are now, row by row."""
        found: list[list[str]] = await self.table(name).evaluate_all(
            "tables => tables.flatMap(table => [...table.querySelectorAll('tbody tr')].map("
            "row => [...row.querySelectorAll('td')].map(cell => cell.textContent)))"
        )
        return found

    async def seen(self) -> str:
        """All text on the page, also in the middle of a change of pages."""
        try:
            return await self.page.locator("body").inner_text(timeout=1000)
        except Error:
            return ""

    async def overflow(self) -> list[str]:
        """What is wider than the screen, which would have to be pushed sideways."""
        found: list[str] = await self.page.evaluate(
            "() => [document.scrollingElement, document.querySelector('[data-testid=stMain]')]"
            ".filter(it => it && it.scrollWidth > it.clientWidth)"
            ".map(it => `${it.tagName} ${it.scrollWidth} > ${it.clientWidth}`)"
        )
        return found

    async def height(self, window: ViewportSize) -> int:
        """How high a window would show all of the page."""
        inside: int = await self.page.evaluate(
            "() => document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 0"
        )
        return max(inside, window["height"])

    async def findings(self) -> list[str]:
        """What axe-core takes for a serious barrier, outside of what is known."""
        await self.page.evaluate(AXE.read_text())
        result = await self.page.evaluate(
            "rules => axe.run(document,"
            " {runOnly: rules, resultTypes: ['violations'], preload: false})",
            RULES,
        )
        return [
            f"{rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in result["violations"]
            for node in rule["nodes"]
            if rule["impact"] in SERIOUS and rule["id"] not in ALLOWED_FINDINGS
        ]

    def breaches(self, *expected: str) -> list[str]:
        """What was asked of another host, and what went wrong unseen and unexpected."""
        here = urlsplit(self.platform.url).netloc
        foreign = {
            url
            for url in self.asked
            if urlsplit(url).netloc != here and urlsplit(url).scheme not in ("data", "blob")
        }
        allowed = (*ALLOWED_COMPLAINTS, *expected)
        return [*foreign, *(it for it in self.complaints if not it.startswith(allowed))]
