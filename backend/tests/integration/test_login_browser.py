"""The sign-in page in a real browser: whom it lets pass, what it says, and how a session ends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import uvicorn
from api_world import until
from browser_client import CHROMIUM, chromium
from fixtures_core import Core, SignedIn, make_signed_in
from fixtures_postgres import Database
from playwright.async_api import BrowserContext, Page, expect

from app.core.settings import load_settings
from app.main import create_app

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser here: apt-get install chromium, then run again"
)


@dataclass
class Site:
    """An API under its public address, and a user with a browser who is not signed in."""

    url: str
    database: Database
    user: SignedIn
    context: BrowserContext
    page: Page

    async def come(self, path: str = "/auth/login?next=/Trades") -> None:
        """Open the sign-in page."""
        await self.page.goto(f"{self.url}{path}", wait_until="commit")

    async def enter(self, password: str | None = None) -> None:
        """Fill in the form and send it."""
        await self.page.get_by_label("E-mail address").fill(self.user.email)
        await self.page.get_by_label("Password", exact=True).fill(password or self.user.password)
        await self.page.keyboard.press("Enter")

    async def arrives(self, path: str = "/Trades") -> None:
        """Wait until the page that was wanted opens."""
        await self.page.wait_for_url(f"{self.url}{path}")

    async def signed_in(self) -> None:
        """Sign in."""
        await self.come()
        await self.enter()
        await self.arrives()

    async def lose(self, *names: str) -> None:
        """Let cookies expire."""
        for name in names:
            await self.context.clear_cookies(name=name)

    async def form_shows(self) -> None:
        """Wait for the form."""
        await expect(self.page.get_by_role("button", name="Sign in")).to_be_visible()

    async def revoked(self) -> int:
        """Count the sessions that were ended."""
        connection = await self.database.connect("postgres")
        return int(await connection.fetchval("SELECT count(*) FROM security.revoked_sessions"))

    async def alive(self) -> bool:
        """Ask whether the browser has a session."""
        return (await self.context.request.get(f"{self.url}/api/session")).ok


@pytest.fixture
async def site(database: Database, core: Core) -> AsyncIterator[Site]:
    """An API on a port of its own, with a browser in front."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://localhost:{listener.getsockname()[1]}"
        user = await make_signed_in(core, database, "trader", public_url=url)
        settings = load_settings(
            app_env="test",
            public_url=url,
            api_role="api",
            secrets_dir=database.cluster.secrets_dir,
            database_host=database.host,
            database_port=database.port_for("app_write"),
            database_name=database.name,
            supertokens_uri=core.uri,
            signin_limit_per_minute=12,
        )
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with chromium() as browser:
                context = await browser.new_context()
                context.set_default_timeout(15_000)
                yield Site(url, database, user, context, await context.new_page())
        finally:
            server.should_exit = True
            await serving


async def test_only_who_has_no_session_is_asked_and_all_are_led_to_the_page_they_wanted(
    site: Site,
) -> None:
    await site.come("/auth/login?next=/Trades%3Forder=1")
    await site.form_shows()
    await expect(site.page.get_by_label("E-mail address")).to_be_focused()
    await site.enter()
    await site.arrives("/Trades?order=1")
    asked: list[str] = []
    site.page.on("request", lambda request: asked.append(request.url.removeprefix(site.url)))
    await site.come("/auth/login?next=/Reports")
    await site.arrives("/Reports")
    assert "/auth/session/refresh" not in asked
    await site.lose("sAccessToken")
    await site.come("/auth/login?next=/refreshed")
    await site.arrives("/refreshed")
    assert "/auth/session/refresh" in asked
    assert await site.alive()


async def test_tabs_that_come_back_together_keep_the_session(site: Site) -> None:
    await site.signed_in()
    await site.lose("sAccessToken")
    tabs = [await site.context.new_page() for _ in range(4)]
    await asyncio.gather(
        *(
            tab.goto(f"{site.url}/auth/login?next=/tab{number}", wait_until="commit")
            for number, tab in enumerate(tabs)
        )
    )
    for number, tab in enumerate(tabs):
        await tab.wait_for_url(f"{site.url}/tab{number}")
    assert (await site.revoked(), await site.alive()) == (0, True)


async def test_what_is_wrong_is_said_in_words_where_it_is_wrong(site: Site) -> None:
    page = site.page
    await site.come()
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Enter your e-mail address.")).to_be_visible()
    await expect(page.get_by_text("Enter your password.")).to_be_visible()
    await site.enter("not-the-password1")
    await expect(page.get_by_role("alert")).to_have_text(
        "The e-mail address or the password is not right."
    )
    await expect(page.get_by_label("Password", exact=True)).to_be_focused()
    await page.get_by_label("E-mail address").fill("nobody@nowhere")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("E-mail address")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("alert")).to_be_hidden()
    await site.context.set_offline(True)
    await site.enter()
    await expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    await site.context.set_offline(False)
    await page.get_by_role("button", name="Sign in").click()
    await site.arrives()


async def test_too_many_attempts_say_how_long_to_wait_and_wait(site: Site) -> None:
    await site.come()
    await site.form_shows()
    # The others of this office are guessing.
    form = {"formFields": [{"id": "email", "value": "a@b.co"}, {"id": "password", "value": "x"}]}
    origin = {"rid": "x", "Origin": site.url}
    wait_s = 0
    while wait_s < 4:
        answer = await site.context.request.post(
            f"{site.url}/auth/signin", data=form, headers=origin
        )
        wait_s = int(answer.headers.get("retry-after", "0"))
    await site.enter()
    alert = site.page.get_by_role("alert")
    await expect(alert).to_contain_text("Too many attempts. Wait ")
    waiting = site.page.get_by_role("button", name="Wait ")
    await expect(waiting).to_have_attribute("aria-disabled", "true")
    await expect(alert).to_be_hidden(timeout=10_000)
    await site.page.get_by_role("button", name="Sign in").click()
    await site.arrives()


@pytest.mark.parametrize(
    ("path", "expired"),
    [
        ("/auth/login?signout=1", ()),
        ("/auth/logout", ("sAccessToken",)),
        ("/auth/logout", ("sAccessToken", "sRefreshToken")),
    ],
)
async def test_signing_out_ends_the_session_and_lands_on_the_form(
    site: Site, path: str, expired: tuple[str, ...]
) -> None:
    await site.signed_in()
    await site.lose(*expired)
    await site.come(path)
    await expect(site.page.get_by_role("status")).to_have_text("You are signed out.")
    await site.form_shows()
    assert not await site.alive()
    # Without any token there is no saying whose session it was.
    assert await site.revoked() == (0 if len(expired) == 2 else 1)
    assert site.page.url == f"{site.url}/auth/login"
    await site.page.reload()
    await site.form_shows()
    await site.enter()
    await site.arrives("/")


async def test_a_revoked_session_leads_to_the_form(site: Site) -> None:
    await site.signed_in()
    session = await (await site.context.request.get(f"{site.url}/api/session")).json()
    connection = await site.database.connect("app_write")
    revoke = "SELECT app.sp_session_revoked('system:test', $1, $2)"
    await connection.execute(revoke, site.user.user_id, session["session_handle"])

    async def over() -> bool:
        return not await site.alive()

    await until(over)
    await site.come()
    await site.form_shows()


async def test_a_page_that_refuses_a_living_session_ends_in_the_form_not_in_a_loop(
    site: Site,
) -> None:
    await site.signed_in()
    back = f"{site.url}/auth/login?next=/Trades"
    await site.context.route(
        "**/Trades", lambda route: route.fulfill(status=302, headers={"Location": back})
    )
    await site.come()
    await expect(site.page.get_by_role("alert")).to_contain_text("the page you asked for refuses")
    await site.form_shows()
