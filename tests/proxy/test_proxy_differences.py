"""Where NGINX cannot or need not do what Caddy does, each difference with its reason.

Everything else that is tested in this folder holds for both. docs/proxy.md repeats this list.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from proxy.conftest import Open
from proxy.doors import CADDYFILE, NGINX, NGINX_DIR, ROOT, Door
from proxy.upstream import WISH

pytestmark = pytest.mark.xdist_group("proxy")

NAVIGATION = {"Sec-Fetch-Mode": "navigate"}


def server_header(door: Door) -> object:
    """Only a module that NGINX does not come with can remove it; it names no version."""
    return door.ask("/api/orders").one("Server")


def request_rate(door: Door) -> object:
    """Caddy has no such limit without a plug-in; the API limits guesses at passwords itself."""
    return {door.ask("/auth/login").status for _ in range(300)}


def length_and_encoding(door: Door) -> object:
    """NGINX refuses both together; Caddy believes the encoding and sends no length on."""
    head = f"POST /api/x HTTP/1.1\r\nHost: {door.host}\r\nContent-Length: 9\r\n"
    return door.send(f"{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()).status


def escaped_query(door: Door) -> object:
    """NGINX can escape nothing, so the way back from the sign-in page may lose a query."""
    answer = door.ask("/Trades?x=a%26b", headers=NAVIGATION)
    return parse_qs(urlsplit(answer.one("Location") or "").query)["next"]


def long_line(door: Door) -> object:
    """Caddy limits all headers together, NGINX also each line."""
    return door.ask("/api/x", headers={"X-Long": "x" * 12_000}).status


def long_address(door: Door) -> object:
    """NGINX tells an address that is too long from headers that are."""
    return door.ask("/" + "x" * 40_000).status


def zero_byte(door: Door) -> object:
    """NGINX refuses it; Caddy passes it on to the API, which knows no such path."""
    return door.ask("/api/internal%00").status


def trailing_dot(door: Door) -> object:
    """The absolute form of our own name."""
    return door.ask("/api/orders", host="localhost.").status


def large_body_of_a_stranger(door: Door) -> object:
    """NGINX measures before it asks the gate, Caddy after."""
    return door.ask("/", method="POST", body=b"x" * (3 << 20)).status


def zstandard(door: Door) -> object:
    """NGINX compresses by gzip only."""
    long = {"Accept-Encoding": "zstd", WISH: json.dumps({"padding": 5000})}
    return door.ask("/static/x.json", headers=long).one("Content-Encoding")


# What Caddy does, what NGINX does.
DIFFERENCES: dict[Callable[[Door], object], tuple[object, object]] = {
    server_header: (None, "nginx"),
    request_rate: ({200}, {200, 429}),
    length_and_encoding: (200, 400),
    escaped_query: (["/Trades?x=a%26b"], ["/"]),
    long_line: (200, 431),
    long_address: (431, 414),
    zero_byte: (200, 400),
    trailing_dot: (421, 200),
    large_body_of_a_stranger: (401, 413),
    zstandard: ("zstd", None),
}


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.__name__)
def test_the_proxies_differ_here_and_for_this_reason(
    kind: str, open_one: Open, difference: Callable[[Door], object]
) -> None:
    door = open_one(kind, ACME_EMAIL="differences@desk.test")
    expected = dict(zip(("caddy", "nginx"), DIFFERENCES[difference], strict=True))
    assert difference(door) == expected[kind], difference.__doc__


def test_the_documentation_names_every_difference() -> None:
    text = (ROOT / "docs/proxy.md").read_text()
    assert [one.__name__ for one in DIFFERENCES if f"`{one.__name__}`" not in text] == []


def test_nginx_refuses_a_value_that_it_would_misread(open_one: Open) -> None:
    if NGINX is None:
        pytest.skip("nginx is missing: apt-get install nginx-light")
    door = open_one("nginx", ACME_EMAIL="differences@desk.test")
    for name in ("PROXY_SECRET", "API_UPSTREAM", "PUBLIC_URL", "SITE_ADDRESS", "TRUSTED_PROXIES"):
        for value in ("a;b", 'a"b', "a{b", "a$b"):
            twisted = Door("nginx", door.folder, {**door.env, name: value})
            done = twisted.act("check")
            assert (done.returncode, done.stderr.count("misread")) == (1, 1), (name, value)
            assert value not in done.stderr
    assert door.act("check").returncode == 0


def comments(path: Path) -> list[str]:
    """The sentences of a configuration's comments, in their order."""
    blocks = re.findall(r"(?:^[ \t]*#.*\n)+", path.read_text(), re.MULTILINE)
    return [" ".join(re.sub(r"^[ \t]*# ?", "", line) for line in b.splitlines()) for b in blocks]


def test_both_files_name_their_routes_in_the_same_order_with_the_same_words() -> None:
    caddy, nginx = comments(CADDYFILE), comments(NGINX_DIR / "app.conf")
    routes = [
        "For our own processes, on private addresses",
        "Master data and history come in files.",
        "The one process that holds the hot store",
        "Only Streamlit's own bundle, no data.",
    ]
    for said in (caddy, nginx):
        found = [i for route in routes for i, one in enumerate(said) if one.startswith(route)]
        assert len(found) == len(routes)
        assert found == sorted(found)
    shared = set(caddy) & set(nginx)
    assert len(shared) >= 8, shared
