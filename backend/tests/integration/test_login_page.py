"""The sign-in page: open to all, nothing foreign on it, and it leads nowhere but to our pages."""

import re
from html.parser import HTMLParser

import pytest
from api_world import OpenApi, World, code
from free_ports import free_port

from app.auth.login_page import PAGES_DIR, login_page, safe_next


class Page(HTMLParser):
    """The tags of a page with their attributes, and whether text stands in a script or style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        """Keep what stands directly in a script or style."""
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)

    def the(self, tag: str) -> dict[str, str]:
        """Return the attributes of the only tag of a kind."""
        (found,) = [attributes for name, attributes in self.tags if name == tag]
        return found

    def links(self) -> list[str]:
        """Return every address the page names."""
        names = ("href", "src", "action")
        return [
            attributes[name] for _, attributes in self.tags for name in names & attributes.keys()
        ]


async def page_of(world: World, path: str, **headers: str) -> Page:
    """Open a page as a browser that nobody signed in with."""
    answer = await world.client().get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


async def test_the_page_and_all_its_parts_come_from_here_and_need_no_session(world: World) -> None:
    page = await page_of(world, "/auth/login")
    links = page.links()
    assert len(links) == 5
    assert all(link.startswith("/auth/login") for link in links), links
    for link in links:
        assert (await world.client().get(link)).status_code == 200, link
    for part in PAGES_DIR.iterdir():
        addresses = re.findall(r"(?:https?:)?//[a-z][^\s'\"]*", part.read_text())
        assert [a for a in addresses if a != "http://www.w3.org/2000/svg"] == [], part


async def test_the_policy_allows_nothing_but_our_own_files_and_the_page_keeps_to_it(
    world: World,
) -> None:
    answer = await world.client().get("/auth/login")
    policy = dict(
        rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in answer.headers
    page = Page(answer.text)
    assert page.inline == []
    assert not [name for _, found in page.tags for name in found if re.match("on|style", name)]


async def test_every_field_has_a_label_and_tells_what_may_fill_it_in(world: World) -> None:
    page = await page_of(world, "/auth/login")
    labels = {found["for"] for tag, found in page.tags if tag == "label"}
    inputs = {found["id"]: found for tag, found in page.tags if tag == "input"}
    assert labels == set(inputs) == {"email", "password"}
    assert inputs["email"]["autocomplete"] == "username"
    assert inputs["password"]["autocomplete"] == "current-password"
    described = {found["aria-describedby"] for found in inputs.values()}
    assert described <= {found.get("id") for _, found in page.tags}
    assert page.the("html")["lang"] == "en"
    assert {found.get("role") for _, found in page.tags} >= {"alert", "status"}
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in page.tags


@pytest.mark.parametrize("name", ["login.js", "login.css", "logo.svg"])
async def test_a_part_is_kept_for_ever_under_its_own_version_only(world: World, name: str) -> None:
    client = world.client()
    page = await page_of(world, "/auth/login")
    link = next(link for link in page.links() if name in link)
    kept = await client.get(link)
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert kept.content == (PAGES_DIR / name).read_bytes()
    assert kept.headers["x-content-type-options"] == "nosniff"
    for other in (f"/auth/login/{name}", f"/auth/login/{name}?v=older"):
        fresh = await client.get(other)
        assert (fresh.content, fresh.headers["cache-control"]) == (kept.content, "no-cache")
    again = await client.get(link, headers={"If-None-Match": kept.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["login.html", "login.py", "..%2f..%2fcore%2fsettings.py", "%2e%2e", "a%00b", "x/y"]
)
async def test_nothing_else_of_the_folder_is_served(world: World, name: str) -> None:
    answer = await world.client().get(f"/auth/login/{name}")
    assert (answer.status_code, code(answer)) == (404, "not_found")


OURS = ["/", "/Trades", "/Trades?order=12&x=a%20b", "/a-b_c/d", "/authors", "/apiary", "/a.b"]
FOREIGN = [
    *("", "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example"),
    *("\\\\evil.example", "javascript:alert(1)", "evil", "/\tevil", "/\n/evil.example", "/ä"),
    *("/ //evil", "http:evil", "/x\x00", "/" + "a" * 3000, "/.//evil.example", "/%2e%2e//x"),
    *("/auth", "/auth/login?next=/", "/auth/logout", "/api/session", "/a/../auth/logout", "/api"),
]


@pytest.mark.parametrize("wanted", OURS)
async def test_after_signing_in_the_page_wanted_is_shown(world: World, wanted: str) -> None:
    answer = await world.client().get("/auth/login", params={"next": wanted})
    assert Page(answer.text).the("body")["data-next"] == wanted
    assert safe_next(wanted) == wanted


@pytest.mark.parametrize("wanted", FOREIGN)
async def test_any_other_place_becomes_the_front_page(world: World, wanted: str) -> None:
    answer = await world.client().get("/auth/login", params={"next": wanted})
    assert answer.status_code == 200
    assert Page(answer.text).the("body")["data-next"] == "/"


async def test_what_is_wanted_cannot_write_into_the_page(world: World) -> None:
    plain = await page_of(world, "/auth/login")
    wanted = "/x\"><script>alert(1)</script>'&$login_js"
    answer = await world.client().get("/auth/login", params={"next": wanted})
    written = Page(answer.text)
    assert len(written.tags) == len(plain.tags)
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    ("path", "site", "mode"),
    [
        ("/auth/login", "none", "login"),
        ("/auth/login?signout=1", "same-origin", "signout"),
        ("/auth/login?signout=1", "none", "signout"),
        ("/auth/login?signout=1", "cross-site", "login"),
        ("/auth/login?signout=1", "same-site", "login"),
        ("/auth/login?signout=0", "same-origin", "login"),
        ("/auth/logout", "same-origin", "signout"),
        ("/auth/logout", "cross-site", "login"),
    ],
)
async def test_only_our_own_pages_and_the_user_can_ask_to_sign_out(
    world: World, path: str, site: str, mode: str
) -> None:
    page = await page_of(world, path, **{"Sec-Fetch-Site": site})
    assert page.the("body")["data-mode"] == mode
    assert page.the("body")["data-next"] == "/"


def test_a_browser_that_says_nothing_of_the_way_here_may_sign_out() -> None:
    assert 'data-mode="signout"' in login_page(wanted="/", signing_out=True)


async def test_a_process_for_the_hot_store_alone_has_no_sign_in_page(open_api: OpenApi) -> None:
    async with open_api(api_role="hot") as world:
        answer = await world.client().get("/auth/login")
        assert (answer.status_code, code(answer)) == (404, "not_found")


async def test_the_page_shows_while_the_database_is_away(open_api: OpenApi) -> None:
    async with open_api(database_port=free_port(), api_role="api") as world:
        assert (await world.client().get("/auth/login")).status_code == 200
