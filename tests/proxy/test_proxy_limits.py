"""What either proxy refuses by itself, and what it says while nobody is behind it."""

import contextlib
import time

import pytest
from proxy.conftest import KINDS, Open
from proxy.doors import NGINX, Answer, Door, read_answer
from proxy.upstream import PROBLEM, SESSION, Upstream

pytestmark = pytest.mark.xdist_group("proxy")

KIB, MIB = 1024, 1024 * 1024
LIMITS = {
    "/api/orders": 64 * KIB,
    "/api/orders/batch": 256 * KIB,
    "/api/lmdb/t/k": 64 * KIB,
    "/auth/signin": 64 * KIB,
    "/static/x.js": 64 * KIB,
    "/api/data/bars": 8 * MIB,
    "/_stcore/upload_file/x": 2 * MIB,
}
NOBODY = "127.0.0.1:1"
# Shapes by which two servers in a row may disagree about where a request ends.
SMUGGLED = b"GET /api/internal/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
LENGTH = f"Content-Length: {len(SMUGGLED) + 5}\r\n"
SHAPES = {
    "two lengths": "Content-Length: 5\r\n" + LENGTH,
    "a list of lengths": f"Content-Length: 5, {len(SMUGGLED) + 5}\r\n",
    "a signed length": "Content-Length: +5\r\n",
    "a length with a blank in its name": "Content-Length : 5\r\n",
    "an unknown encoding": "Transfer-Encoding: xchunked\r\n",
    "an encoding after chunked": "Transfer-Encoding: chunked, identity\r\n",
    "two encodings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "chunked, with a vertical tab": "Transfer-Encoding: \x0bchunked\r\n",
}


def chunked(size: int) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)


def send_chunked(door: Door, path: str, size: int) -> Answer:
    return door.ask(
        path,
        method="POST",
        body=chunked(size),
        headers={"Transfer-Encoding": "chunked", "Cookie": SESSION},
    )


@pytest.mark.parametrize(("path", "limit"), LIMITS.items())
def test_a_body_may_be_as_large_as_its_path_allows_and_no_larger(
    door: Door, upstreams: dict[str, Upstream], path: str, limit: int
) -> None:
    for size, declared in ((limit, True), (limit, False)):
        fitting = (
            door.ask(path, method="POST", body=b"x" * size, Cookie=SESSION)
            if declared
            else send_chunked(door, path, size)
        )
        assert (fitting.status, fitting.said["body_bytes"]) == (200, limit)
    for upstream in upstreams.values():
        upstream.seen.clear()
    for answer in (
        door.ask(path, method="POST", body=b"x" * (limit + 1), Cookie=SESSION),
        send_chunked(door, path, limit + 1),
    ):
        assert (answer.status, answer.one("Content-Type")) == (413, PROBLEM)
        assert answer.said["code"] == "body_too_large"
        assert answer.one("Cache-Control") == "no-store"
    seen = [one for up in upstreams.values() for one in up.seen if one.path == path]
    whole = [one for one in seen if one.body_bytes > limit]
    assert whole == []


def test_a_body_that_is_only_announced_is_refused_at_once(door: Door) -> None:
    head = f"POST /api/orders HTTP/1.1\r\nHost: {door.host}\r\nContent-Length: 99999999999\r\n\r\n"
    began = time.monotonic()
    assert door.send(head.encode() + b"x" * 70_000).status == 413
    assert time.monotonic() - began < 5


def test_headers_may_be_as_large_as_sessions_need_and_no_larger(
    door: Door, upstreams: dict[str, Upstream]
) -> None:
    fitting = {"Cookie": f"{SESSION}; x={'x' * 6000}", "X-Other": "y" * 5000}
    assert door.ask("/", headers=fitting).status == 200
    upstreams["streamlit"].seen.clear()
    # Answered by the proxy alone, so that no other server's limit is seen.
    assert door.ask("/healthz", Cookie="x" * 24_000).status == 431
    assert door.ask("/", Cookie=f"{SESSION}; x={'x' * 24_000}").status == 431
    assert door.ask("/", headers={f"X-{n}": "x" * 1000 for n in range(64)}).status == 431
    assert door.ask("/" + "x" * 40_000, Cookie=SESSION).status in (414, 431)
    assert upstreams["streamlit"].seen == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", ["/api/orders", "/static/x", "/"])
def test_a_request_whose_end_is_in_doubt_is_refused(
    door: Door, upstreams: dict[str, Upstream], path: str, shape: str
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: {door.host}\r\nCookie: {SESSION}\r\n{SHAPES[shape]}\r\n"
    answer = door.send(head.encode() + b"0\r\n\r\n" + SMUGGLED)
    assert answer.status in (400, 501)
    assert [one.path for up in upstreams.values() for one in up.seen] == []


@pytest.mark.parametrize("path", ["/api/orders", "/static/x", "/"])
def test_a_request_with_both_a_length_and_an_encoding_smuggles_nothing(
    door: Door, upstreams: dict[str, Upstream], path: str
) -> None:
    both = f"{LENGTH}Transfer-Encoding: chunked\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: {door.host}\r\nCookie: {SESSION}\r\n{both}\r\n"
    with door.connect() as connection:
        connection.sendall(head.encode() + b"0\r\n\r\n" + SMUGGLED)
        read_answer(connection)
        with contextlib.suppress(ConnectionResetError):
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                read_answer(connection)
    seen = [one for up in upstreams.values() for one in up.seen if one.path != "/auth/verify"]
    assert not [one for one in seen if "smuggled" in one.path]
    assert all(one.path == path and one.body_bytes == 0 for one in seen)
    assert all(not one.all("content-length") or one.all("content-length") == ["0"] for one in seen)


def test_a_request_without_a_name_or_with_two_is_refused(door: Door) -> None:
    assert door.send(b"GET / HTTP/1.1\r\n\r\n").status == 400
    two = f"GET / HTTP/1.1\r\nHost: {door.host}\r\nHost: evil.test\r\n\r\n"
    assert door.send(two.encode()).status == 400
    assert door.send(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n").status == 421


@pytest.fixture
def down(kind: str, open_one: Open) -> Door:
    """A proxy behind which nobody is."""
    nobody = {"API_UPSTREAM": NOBODY, "HOT_UPSTREAM": NOBODY, "STREAMLIT_UPSTREAM": NOBODY}
    return open_one(kind, **nobody)


@pytest.mark.parametrize("path", ["/", "/Trades", "/api/orders", "/auth/login", "/static/x"])
def test_while_all_is_down_a_browser_sees_a_page_that_looks_again(down: Door, path: str) -> None:
    answer = down.ask(path, Accept="text/html,*/*")
    assert (answer.status, answer.one("Content-Type")) == (503, "text/html; charset=utf-8")
    assert b'<meta http-equiv="refresh" content="3">' in answer.body
    assert b"Informania is starting or down" in answer.body
    assert answer.one("Retry-After") == "3"
    assert answer.one("Cache-Control") == "no-store"
    assert answer.one("Content-Security-Policy") == "default-src 'none'; frame-ancestors 'none'"
    assert answer.one("X-Frame-Options") == "DENY"


@pytest.mark.parametrize("path", ["/", "/api/orders", "/api/lmdb/t/k", "/auth/signin", "/static/x"])
@pytest.mark.parametrize(
    ("method", "accept"), [("GET", "application/json"), ("GET", "*/*"), ("POST", "text/html")]
)
def test_while_all_is_down_a_program_hears_a_problem(
    down: Door, path: str, method: str, accept: str
) -> None:
    answer = down.ask(path, method=method, body=b"{}", Accept=accept)
    assert (answer.status, answer.one("Content-Type")) == (503, PROBLEM)
    said = answer.said
    assert (said["status"], said["code"]) == (503, "service_unavailable")
    assert answer.one("Retry-After") == "1"
    assert answer.one("Cache-Control") == "no-store"


def test_both_say_it_in_the_same_words(open_one: Open) -> None:
    if NGINX is None:
        pytest.skip("nginx is missing: apt-get install nginx-light")
    nobody = {"API_UPSTREAM": NOBODY, "HOT_UPSTREAM": NOBODY, "STREAMLIT_UPSTREAM": NOBODY}
    for settings, accept, body in (
        (nobody, "text/html", None),
        (nobody, "application/json", None),
        ({}, "application/json", b"x" * 70_000),
    ):
        caddy, nginx = (
            open_one(kind, **settings).ask("/auth/signin", body=body, Accept=accept)
            for kind in KINDS
        )
        assert (caddy.status, caddy.body.strip()) == (nginx.status, nginx.body.strip())
