"""Who may see the screen: the gate of either proxy, for pages, for fetches and for websockets."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from proxy.conftest import Open
from proxy.doors import SECRET, Door
from proxy.upstream import IDENTITY, PROBLEM, SESSION, WISH, Upstream
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

pytestmark = pytest.mark.xdist_group("proxy")

NAVIGATIONS = (
    {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"},
    {"Sec-Fetch-Mode": "navigate"},
    {"Accept": "application/xhtml+xml,text/html;q=0.9"},
)
NO_NAVIGATIONS: tuple[dict[str, str], ...] = (
    {},
    {"Accept": "*/*"},
    {"Sec-Fetch-Mode": "cors", "Accept": "text/html"},
    {"Sec-Fetch-Mode": "websocket", "Accept": "text/html"},
    {"Accept": "text/html", "Upgrade": "websocket", "Connection": "upgrade"},
)


def stream(door: Door, cookie: str | None = SESSION, origin: str | None = "") -> ClientConnection:
    """Open the websocket of a page; its origin is ours unless another is given."""
    headers = {"Cookie": cookie} if cookie else {}
    return connect(
        f"ws://localhost:{door.port}/_stcore/stream",
        origin=None if origin is None else Origin(origin or door.url),
        additional_headers={**headers, "X-User-Id": "admin", "X-Proxy-Secret": "guess"},
        subprotocols=[Subprotocol("streamlit"), Subprotocol("session-of-streamlit")],
        proxy=None,
    )


def refusal(door: Door, **how: str | None) -> int:
    """The status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused, stream(door, **how):
        pass
    return refused.value.response.status_code


@pytest.mark.parametrize("path", ["/", "/Trades", "/Trades?account=2", "/a?b=1&c=2&d=3&e=4"])
@pytest.mark.parametrize("headers", NAVIGATIONS)
def test_a_strangers_navigation_leads_to_the_sign_in_page_and_back(
    door: Door, path: str, headers: dict[str, str]
) -> None:
    answer = door.ask(path, headers=headers)
    assert answer.status == 302
    target = urlsplit(answer.one("Location") or "")
    assert (target.scheme, target.netloc, target.path) == ("", "", "/auth/login")
    assert parse_qs(target.query, strict_parsing=True) == {"next": [path]}
    assert answer.one("Cache-Control") == "no-store"


@pytest.mark.parametrize("headers", NO_NAVIGATIONS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whatever_else_a_stranger_asks_is_401(
    door: Door, method: str, headers: dict[str, str]
) -> None:
    answer = door.ask("/Trades", method=method, headers=headers, body=b"")
    assert (answer.status, answer.one("Content-Type")) == (401, PROBLEM)
    said = answer.said
    assert (said["status"], said["code"], said["instance"]) == (
        401,
        "session_required",
        "/auth/verify",
    )
    assert answer.one("Cache-Control") == "no-store"


def test_what_leads_a_page_elsewhere_does_not_lead_a_form(door: Door) -> None:
    for headers in NAVIGATIONS:
        assert door.ask("/", method="POST", headers=headers, body=b"x").status == 401


def test_the_gates_question_is_a_plain_one(door: Door, upstreams: dict[str, Upstream]) -> None:
    door.ask("/Trades?account=2", method="POST", body=b"12345", Cookie=SESSION)
    with stream(door):
        pass
    for question in upstreams["api"].seen:
        assert (question.path, question.body_bytes) == ("/auth/verify", 0)
        assert question.all("cookie") == [SESSION]
        assert question.all("x-forwarded-for") == ["127.0.0.1"]
        sent = {name for name, _ in question.headers}
        assert not {"upgrade", "sec-websocket-key", "sec-websocket-protocol"} & sent
        assert "upgrade" not in question.all("connection")
    (posted, _) = upstreams["streamlit"].seen
    assert posted.body_bytes == 5


def test_a_session_opens_a_websocket(door: Door) -> None:
    with stream(door) as socket:
        assert socket.subprotocol == "streamlit"
        seen = dict(json.loads(socket.recv(timeout=5)))
        assert {name: seen[name] for name in IDENTITY} == IDENTITY
        assert seen["x-proxy-secret"] == SECRET
        assert seen["origin"] == door.url
        for size in (1, 100_000):
            socket.send("x" * size)
            assert len(socket.recv(timeout=5)) == size


@pytest.mark.parametrize("cookie", [None, "sAccessToken=", "sAccessToken=bad"])
def test_no_session_opens_no_websocket(
    door: Door, upstreams: dict[str, Upstream], cookie: str | None
) -> None:
    assert refusal(door, cookie=cookie) == 401
    assert upstreams["streamlit"].seen == []


@pytest.mark.parametrize("origin", ["http://evil.test", "null"])
def test_another_sites_page_opens_no_websocket(
    door: Door, upstreams: dict[str, Upstream], origin: str
) -> None:
    assert refusal(door, origin=origin) == 403
    assert upstreams["streamlit"].seen == []
    answer = door.ask("/", Cookie=SESSION, Origin=origin)
    assert (answer.status, answer.said["code"]) == (403, "csrf_rejected")


@pytest.mark.parametrize("path", ["/api/stream", "/auth/stream", "/static/stream", "/api/lmdb/x/y"])
def test_there_are_no_websockets_but_the_screens(door: Door, path: str) -> None:
    handshake = {
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in handshake.items())
    head = f"GET {path} HTTP/1.1\r\nHost: {door.host}\r\nConnection: Upgrade\r\n{lines}\r\n"
    answer = door.send(head.encode())
    assert (answer.status, answer.sent_on("upgrade")) == (200, [])


def test_no_other_protocol_can_be_asked_for(door: Door) -> None:
    head = f"GET / HTTP/1.1\r\nHost: {door.host}\r\nCookie: {SESSION}\r\n"
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n"
    answer = door.send((head + upgrade).encode())
    assert (answer.status, answer.reached, answer.sent_on("upgrade")) == (200, "streamlit", [])


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_gate_that_cannot_tell_opens_nothing(
    door: Door, upstreams: dict[str, Upstream], status: int
) -> None:
    gate = upstreams["api"]
    gate.unwell = status
    try:
        assert door.ask("/", Cookie=SESSION).status in (status, 503)
        assert refusal(door) in (status, 503)
    finally:
        gate.unwell = None
    assert upstreams["streamlit"].seen == []


def test_a_reload_cuts_neither_an_open_page_nor_a_request(kind: str, open_one: Open) -> None:
    door = open_one(kind, ACME_EMAIL="operator@desk.test")
    wish = {WISH: json.dumps({"delay_s": 0.7}), "Cookie": SESSION}
    with stream(door) as socket, door.connect() as waiting:
        socket.recv(timeout=5)
        head = "".join(f"{name}: {value}\r\n" for name, value in wish.items())
        request = f"GET /api/slow HTTP/1.1\r\nHost: {door.host}\r\n{head}Connection: close\r\n\r\n"
        waiting.sendall(request.encode())
        done = door.act("reload")
        assert done.returncode == 0, done.stderr
        for word in ("still", "there"):
            socket.send(word)
            assert socket.recv(timeout=5) == word
        assert door.ask("/api/orders").reached == "api"
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")


def test_a_configuration_that_is_wrong_is_not_taken_over(kind: str, open_one: Open) -> None:
    door = open_one(kind, ACME_EMAIL="operator@desk.test")
    good = dict(door.env)
    door.env["API_UPSTREAM"] = "not an address {"
    try:
        assert door.act("check").returncode != 0
        assert door.act("reload").returncode != 0
    finally:
        door.env.clear()
        door.env.update(good)
    assert door.act("check").returncode == 0
    assert door.ask("/api/orders").reached == "api"


def test_of_several_screens_one_session_always_meets_the_same(
    open_one: Open, upstreams: dict[str, Upstream]
) -> None:
    both = f"{upstreams['streamlit'].address} {upstreams['hot'].address}"
    door = open_one("caddy", STREAMLIT_UPSTREAM=both, TRUSTED_PROXIES="private_ranges")
    assert len({door.ask("/", Cookie=SESSION).reached for _ in range(16)}) == 1
