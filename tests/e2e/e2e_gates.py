"""Every door of the screen, on the real platform: with two of them taken away the third holds."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress

import asyncpg
import httpx
import pytest
from platform_client import Platform, Trader, eventually
from streamlit_client import Screen
from websockets.exceptions import InvalidStatus

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]

# Two seconds between two looks of the watcher, one for all the rest.
CLOSED_WITHIN_S = 3.0
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}


@pytest.fixture
async def viewer(platform: Platform) -> AsyncIterator[Trader]:
    async with Trader(platform, "viewer") as signed_in:
        yield signed_in


class Doors:
    """The ways to the screen: through the proxy, and past it to the process itself."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.proxy = platform.url
        self.direct = f"http://localhost:{platform.port_base + 2}"

    def secret(self, name: str) -> str:
        return (self.platform.run_dir / "secrets" / name).read_text().strip()

    async def session(self, person: Trader) -> dict[str, str]:
        """Who somebody is, as the API says."""
        answer = await person.client.get("/api/session")
        assert answer.status_code == httpx.codes.OK, answer.text
        said: dict[str, str] = answer.json()
        return said

    async def stated(self, person: Trader, **changes: str) -> dict[str, str]:
        """What the proxy would state about somebody."""
        said = await self.session(person)
        return {
            "X-User-Id": said["user_id"],
            "X-User-Role": said["role"],
            "X-Session-Handle": said["session_handle"],
            "X-Proxy-Secret": self.secret("proxy_secret"),
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }

    def screen(self, person: Trader, *, session_id: str | None = None) -> Screen:
        """Open the screen as the browser of somebody does."""
        return Screen(
            self.proxy, origin=self.proxy, cookie=cookie_of(person), session_id=session_id
        )


@pytest.fixture
def doors(platform: Platform) -> Doors:
    return Doors(platform)


def cookie_of(person: Trader) -> str:
    return f"sAccessToken={person.client.cookies['sAccessToken']}"


async def refusal(screen: Screen) -> int:
    """The status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with screen:
            pass
    return refused.value.response.status_code


async def get(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.get(url, headers=headers)


async def test_a_signed_in_user_sees_the_screen(doors: Doors, trader: Trader) -> None:
    page = await trader.client.get("/")
    assert page.status_code == httpx.codes.OK
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    async with doors.screen(trader) as screen:
        shown = await screen.run()
    assert "Dashboard" in shown.text
    assert "signed out" not in shown.text


@pytest.mark.parametrize("path", ["/", "/Trades?account=2&x=a%20b", "/no/such/page"])
async def test_a_strangers_navigation_leads_to_the_sign_in_page_and_back(
    doors: Doors, path: str
) -> None:
    for headers in (NAVIGATION, {"Accept": "text/html"}):
        answer = await get(f"{doors.proxy}{path}", headers)
        assert answer.status_code == httpx.codes.FOUND
        back = httpx.URL(answer.headers["Location"])
        assert (back.path, back.params["next"]) == ("/auth/login", path)
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/", "/_stcore/health", "/_stcore/host-config", "/media/x", "/session/renew"]
)
async def test_whatever_else_a_stranger_asks_is_401(doors: Doors, path: str) -> None:
    answer = await get(f"{doors.proxy}{path}", {"Sec-Fetch-Mode": "cors", "Accept": "text/html"})
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert answer.json()["code"] == "session_required"
    # The API's own words: the first door already refused, not the one behind it.
    assert answer.json()["instance"] == "/auth/verify"


async def test_a_stranger_opens_no_websocket(doors: Doors) -> None:
    for cookie in (None, "sAccessToken=", "sAccessToken=eyJhbGciOiJub25lIn0.e30."):
        assert await refusal(Screen(doors.proxy, origin=doors.proxy, cookie=cookie)) == 401


@pytest.mark.parametrize(
    "path",
    [
        "/_stcore/metrics",
        "/_stcore/agent/openapi.json",
        "/_stcore/agent/interact",
        "/_stcore/script-health-check",
        "/auth/verify",
        "/api/internal/sessions/check",
        "/metrics",
    ],
)
async def test_what_is_for_nobody_is_not_there_for_users_either(trader: Trader, path: str) -> None:
    assert (await trader.client.get(path)).status_code == httpx.codes.NOT_FOUND


async def test_the_bundle_is_public_compressed_and_kept(doors: Doors) -> None:
    page = (await get(f"{doors.proxy}/static/index.html")).text
    script = page.split('src="./static/js/index.')[1].split('"')[0]
    url = f"{doors.proxy}/static/js/index.{script}"
    for encoding in ("gzip", "zstd"):
        answer = await get(url, {"Accept-Encoding": encoding})
        assert answer.status_code == httpx.codes.OK
        assert answer.headers["Content-Encoding"] == encoding
    assert (await get(f"{doors.proxy}/favicon.png")).status_code == httpx.codes.OK


async def test_headers_forged_at_the_proxy_make_nobody_anybody(
    doors: Doors, trader: Trader, viewer: Trader
) -> None:
    forged = await doors.stated(trader)
    assert (await get(doors.proxy, forged)).status_code == httpx.codes.UNAUTHORIZED
    assert await refusal(Screen(doors.proxy, origin=doors.proxy, headers=forged)) == 401
    # With a session of one's own one stays who one is.
    own = Screen(doors.proxy, origin=doors.proxy, headers=forged, cookie=cookie_of(viewer))
    async with own as screen, doors.screen(trader) as real:
        shown, expected = await screen.run(), await real.run()
    assert "signed out" not in shown.text
    assert shown.session_id != expected.session_id
    said = (await doors.session(viewer))["role"]
    assert said == "viewer"
    assert "trader" not in shown.text


async def test_past_the_proxy_one_needs_all_that_it_states(doors: Doors, trader: Trader) -> None:
    # What the refusals below are measured against: nothing else is in the way.
    headers = {**await doors.stated(trader), "Cookie": cookie_of(trader)}
    assert (await get(doors.direct, headers)).status_code == httpx.codes.OK
    async with Screen(doors.direct, origin=doors.proxy, headers=headers) as screen:
        assert "Dashboard" in (await screen.run()).text


async def test_past_the_proxy_its_secret_is_missing(doors: Doors, trader: Trader) -> None:
    stated = await doors.stated(trader)
    for secret in (None, "", "guess", doors.secret("worker_token")):
        forged = {key: value for key, value in stated.items() if key != "X-Proxy-Secret"}
        if secret is not None:
            forged["X-Proxy-Secret"] = secret
        headers = {**forged, "Cookie": cookie_of(trader)}
        assert (await get(doors.direct, headers)).status_code == httpx.codes.UNAUTHORIZED
        assert await refusal(Screen(doors.direct, origin=doors.proxy, headers=headers)) == 401


async def test_with_the_proxys_secret_a_forged_identity_still_opens_nothing(
    doors: Doors, trader: Trader, viewer: Trader
) -> None:
    # The first door is gone: somebody inside knows its secret and states what he likes.
    stated = await doors.stated(trader)
    cookies = (None, cookie_of(viewer), "sAccessToken=eyJhbGciOiJub25lIn0.e30.")
    for cookie in cookies:
        headers = {**stated, **({"Cookie": cookie} if cookie else {})}
        assert (await get(doors.direct, headers)).status_code == httpx.codes.UNAUTHORIZED
        assert await refusal(Screen(doors.direct, origin=doors.proxy, headers=headers)) == 401
    for change in ({"X_User_Role": "admin"}, {"X_Session_Handle": "another"}):
        forged = {**await doors.stated(viewer, **change), "Cookie": cookie_of(viewer)}
        assert await refusal(Screen(doors.direct, origin=doors.proxy, headers=forged)) == 401


async def test_the_direct_port_is_shut_to_whoever_just_knocks(doors: Doors) -> None:
    for path in ("/", "/_stcore/host-config", "/media/x", "/session/renew"):
        assert (await get(f"{doors.direct}{path}")).status_code == httpx.codes.UNAUTHORIZED
    assert await refusal(Screen(doors.direct, origin=doors.proxy)) == httpx.codes.UNAUTHORIZED
    assert (await get(f"{doors.direct}/_stcore/health")).text == "ok"


@pytest.mark.parametrize("origin", ["http://evil.test", "null", None])
async def test_another_sites_page_opens_no_websocket(
    doors: Doors, trader: Trader, origin: str | None
) -> None:
    through_the_proxy = Screen(doors.proxy, origin=origin, cookie=cookie_of(trader))
    assert await refusal(through_the_proxy) == httpx.codes.FORBIDDEN
    headers = {**await doors.stated(trader), "Cookie": cookie_of(trader)}
    past_it = Screen(doors.direct, origin=origin, headers=headers)
    assert await refusal(past_it) == httpx.codes.FORBIDDEN


async def test_nobody_takes_over_anothers_streamlit_session(
    doors: Doors, trader: Trader, viewer: Trader
) -> None:
    async with doors.screen(trader) as first:
        theirs = (await first.run()).session_id
        assert theirs
        # While its owner is connected, and after he left.
        async with doors.screen(viewer, session_id=theirs) as thief:
            assert (await thief.run()).session_id not in ("", theirs)
    async with doors.screen(viewer, session_id=theirs) as thief:
        assert (await thief.run()).session_id not in ("", theirs)
    async with doors.screen(trader, session_id=theirs) as owner:
        assert (await owner.run()).session_id == theirs


async def test_a_new_login_of_the_same_user_does_not_resume_the_old_one(
    doors: Doors, trader: Trader
) -> None:
    async with doors.screen(trader) as first:
        before = (await first.run()).session_id
    async with (
        Trader(doors.platform, "trader") as again,
        doors.screen(again, session_id=before) as second,
    ):
        assert (await second.run()).session_id not in ("", before)


async def test_who_signs_out_while_looking_is_cut_off_and_led_to_the_sign_in_page(
    doors: Doors, viewer: Trader
) -> None:
    async with Trader(doors.platform, "trader") as leaving, AsyncExitStack() as open_screens:
        screen = await open_screens.enter_async_context(doors.screen(leaving))
        other = await open_screens.enter_async_context(doors.screen(viewer))
        await screen.run()
        await other.run()
        stated = {**await doors.stated(leaving), "Cookie": cookie_of(leaving)}
        signed_out = await leaving.client.post("/auth/signout")
        assert signed_out.status_code == httpx.codes.OK
        code, messages = await screen.closed(CLOSED_WITHIN_S)
        assert code == 4401
        assert messages[-1].auth_redirect.url.startswith("/auth/login?next=")
        # Neither his old cookie nor what the proxy would have said brings him back.
        direct = Screen(doors.direct, origin=doors.proxy, headers=stated)
        assert await refusal(direct) == httpx.codes.UNAUTHORIZED
        cookie = stated["Cookie"]
        proxied = Screen(doors.proxy, origin=doors.proxy, cookie=cookie)
        assert await refusal(proxied) == httpx.codes.UNAUTHORIZED
        assert "signed out" not in (await other.run()).text


@pytest.fixture
async def database(platform: Platform) -> AsyncIterator[asyncpg.Connection]:
    connection = await platform.database()
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE app.users SET role = 'admin' WHERE user_id = $1",
        "UPDATE app.users SET disabled = TRUE WHERE user_id = $1",
    ],
    ids=["role", "disabled"],
)
async def test_a_changed_user_loses_his_open_screen(
    doors: Doors, viewer: Trader, database: asyncpg.Connection, change: str
) -> None:
    user_id = (await doors.session(viewer))["user_id"]
    async with doors.screen(viewer) as screen:
        await screen.run()
        try:
            await database.execute(change, user_id)
            code, _ = await screen.closed(CLOSED_WITHIN_S)
            assert code == 4401
        finally:
            await database.execute(
                "UPDATE app.users SET role = 'viewer', disabled = FALSE WHERE user_id = $1",
                user_id,
            )


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Hold a process still: connected, and silent."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def test_an_api_that_says_nothing_shuts_every_door_and_opens_them_again(
    doors: Doors, trader: Trader
) -> None:
    api = doors.platform.status()["services"]["api"]["pid"]
    stated = {**await doors.stated(trader), "Cookie": cookie_of(trader)}
    async with doors.screen(trader) as screen:
        await screen.run()
        with paused(api):
            code, messages = await screen.closed(20)
            assert code == 1013
            assert not any(message.WhichOneof("type") == "auth_redirect" for message in messages)
            assert (await get(doors.direct, stated)).status_code == 503
            page = await get(doors.proxy, {**NAVIGATION, "Cookie": cookie_of(trader)})
            assert page.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert "starting or down" in page.text

    async def look() -> int:
        return (await trader.client.get("/")).status_code

    await eventually(look, lambda status: status == httpx.codes.OK)
    async with doors.screen(trader) as screen:
        assert "Dashboard" in (await screen.run()).text


async def test_many_strangers_do_not_keep_a_user_out(doors: Doors, trader: Trader) -> None:
    strangers = [refusal(Screen(doors.proxy, origin=doors.proxy)) for _ in range(50)]
    assert set(await asyncio.gather(*strangers)) == {httpx.codes.UNAUTHORIZED}
    async with doors.screen(trader) as screen:
        assert "Dashboard" in (await screen.run()).text
