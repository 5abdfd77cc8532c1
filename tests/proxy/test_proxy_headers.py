"""What either proxy adds, replaces and keeps to itself, in both directions and in its log."""

import json
import re

import pytest
from proxy.conftest import Open
from proxy.doors import SECRET, Answer, Door
from proxy.upstream import IDENTITY, SESSION, WISH, Upstream

pytestmark = pytest.mark.xdist_group("proxy")

FORGED = {
    "X-User-Id": "admin",
    "x-user-role": "admin",
    "X-SESSION-HANDLE": "another",
    "X-Proxy-Secret": "guess",
    "X_User_Id": "admin",
    "X_User_Role": "admin",
    "X_Proxy_Secret": "guess",
    "Forwarded": "for=6.6.6.6",
    "X-Real-Ip": "6.6.6.6",
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Host": "evil.test",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Prefix": "/evil",
    "X-Original-Url": "/api/internal/x",
    "X-Rewrite-Url": "/api/internal/x",
    "X-Request-Id": "chosen-by-a-stranger",
}
UNGATED = ("/api/orders", "/api/lmdb/t/k", "/auth/login", "/static/x.js")
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{32,64}")
COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Strict-Transport-Security": None,
    "Via": None,
    "Retry-After": None,
}
API_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
SCREEN_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' "
    "'sha256-THxz9J9+wf7rhwR2YkXJoSZ13UCmYyC+3lNDv2+8ugA='; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; frame-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
ANSWERED = {
    "/api/orders": {"Content-Security-Policy": API_POLICY, "Cache-Control": None},
    "/api/lmdb/t/k": {"Content-Security-Policy": API_POLICY, "Cache-Control": None},
    "/auth/signin": {"Content-Security-Policy": API_POLICY, "Cache-Control": None},
    "/static/x.js": {"Content-Security-Policy": None, "Cache-Control": None},
    "/": {"Content-Security-Policy": SCREEN_POLICY, "Cache-Control": "no-store"},
}
# One secret in each place where one travels.
PLANTED = {
    "Cookie": f"{SESSION}; sRefreshToken=planted-cookie",
    "Authorization": "Bearer planted-bearer",
    "Idempotency-Key": "planted-key",
    "X-Bridge-Signature": "planted-signature",
    "X-Xsrftoken": "planted-xsrf",
    "Sec-WebSocket-Protocol": "streamlit, planted-protocol",
    "Referer": "http://localhost/auth/reset?token=planted-referrer",
    "X-Proxy-Secret": "planted-guess",
    "X-Of-Tomorrow": "planted-unknown",
}


def names(answer: Answer) -> list[str]:
    """The names under which headers reached the upstream."""
    return [name for name, _ in answer.said["headers"]]


@pytest.mark.parametrize("path", UNGATED)
def test_whatever_is_said_about_identity_outside_does_not_get_in(door: Door, path: str) -> None:
    answer = door.ask(path, headers=FORGED, Cookie=SESSION)
    assert answer.status == 200
    assert not {name.replace("_", "-") for name in names(answer)} & {*IDENTITY, "x-proxy-secret"}


def test_the_screen_is_told_who_the_gate_found_and_by_whom(door: Door) -> None:
    for headers in ({}, FORGED):
        answer = door.ask("/", headers=headers, Cookie=SESSION)
        for name, value in {**IDENTITY, "x-proxy-secret": SECRET}.items():
            assert answer.sent_on(name) == [value]
        assert not [name for name in names(answer) if "_" in name]


def test_a_forged_identity_opens_nothing(door: Door, upstreams: dict[str, Upstream]) -> None:
    assert door.ask("/", headers=FORGED).status == 401
    assert upstreams["streamlit"].seen == []
    (question,) = upstreams["api"].seen
    assert not {name for name, _ in question.headers} & {*IDENTITY, "x-proxy-secret"}


@pytest.mark.parametrize("path", [*UNGATED, "/"])
def test_where_a_request_comes_from_is_what_we_saw_ourselves(door: Door, path: str) -> None:
    answer = door.ask(path, headers=FORGED, Cookie=SESSION)
    assert answer.sent_on("host") == [door.host]
    assert answer.sent_on("x-forwarded-for") == ["127.0.0.1"]
    assert answer.sent_on("x-forwarded-host") == [door.host]
    assert answer.sent_on("x-forwarded-proto") == ["http"]
    for name in ("forwarded", "x-real-ip", "x-forwarded-port", "x-forwarded-prefix"):
        assert answer.sent_on(name) == []
    assert not {"x-original-url", "x-rewrite-url"} & set(names(answer))


def test_a_trusted_proxys_word_is_believed_and_nobody_elses(kind: str, open_one: Open) -> None:
    behind = open_one(
        kind, TRUSTED_PROXIES="127.0.0.1/32 10.0.0.0/8", PUBLIC_URL="https://desk.test"
    )
    before = len(behind.access_log())
    said = {"X-Forwarded-For": "6.6.6.6, 7.7.7.7, 10.1.1.1", "X-Forwarded-Proto": "https"}
    answer = behind.ask("/api/orders", headers=said, host="localhost")
    # The last one that is not itself trusted: what stands before it anybody may have written.
    assert answer.sent_on("x-forwarded-for") == ["7.7.7.7"]
    assert answer.sent_on("x-forwarded-proto") == ["https"]
    assert behind.access_log(before + 1)[-1]["request"]["client_ip"] == "7.7.7.7"
    assert answer.one("Strict-Transport-Security") == "max-age=31536000"


def test_every_request_gets_a_new_id_for_all_who_have_to_do_with_it(
    door: Door, upstreams: dict[str, Upstream]
) -> None:
    before = len(door.access_log())
    answers = [door.ask("/", headers=FORGED, Cookie=SESSION) for _ in range(2)]
    ids = [answer.sent_on("x-request-id") for answer in answers]
    assert ids[0] != ids[1]
    for (request_id,), question, logged in zip(
        ids, upstreams["api"].seen, door.access_log(before + 2)[-2:], strict=True
    ):
        assert REQUEST_ID.fullmatch(request_id)
        assert question.all("x-request-id") == [request_id]
        assert logged["request_id"] == request_id


@pytest.mark.parametrize(("path", "own"), ANSWERED.items())
def test_each_answer_carries_the_headers_that_protect_it_once(
    door: Door, path: str, own: dict[str, str | None]
) -> None:
    answer = door.ask(path, Cookie=SESSION)
    assert answer.reached
    expected = {**COMMON, **own}
    assert {name: answer.one(name) for name in expected} == expected
    assert "leaky" not in str(answer.headers)


def test_the_api_may_be_stricter_and_the_screen_may_not_be_laxer(door: Door) -> None:
    said = {
        "Content-Security-Policy": "default-src 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "public, max-age=60",
    }
    wish = {WISH: json.dumps({"headers": said})}
    login = door.ask("/auth/login", headers=wish)
    assert {name: login.one(name) for name in said} == said
    assert door.ask("/static/x.js", headers=wish).one("Cache-Control") == "public, max-age=60"
    screen = door.ask("/", headers=wish, Cookie=SESSION)
    assert screen.one("Content-Security-Policy") == SCREEN_POLICY
    assert screen.one("Cache-Control") == "no-store"


@pytest.mark.parametrize("status", [201, 304, 404, 409, 413, 422, 429, 500, 503])
@pytest.mark.parametrize("path", ["/api/orders", "/"])
def test_an_upstreams_own_answer_comes_through_as_it_is(door: Door, path: str, status: int) -> None:
    wish = json.dumps({"status": status, "headers": {"Content-Type": "x/y", "Retry-After": "7"}})
    answer = door.ask(path, headers={WISH: wish}, Cookie=SESSION)
    assert (answer.status, answer.one("Retry-After")) == (status, "7")
    assert status == 304 or (answer.one("Content-Type"), answer.reached is None) == ("x/y", False)


def test_only_the_bundle_is_compressed(door: Door) -> None:
    wish = {
        WISH: json.dumps({"padding": 5000, "headers": {"Content-Type": "text/css"}}),
        "Accept-Encoding": "gzip",
        "Cookie": SESSION,
    }
    assert door.ask("/static/x.css", headers=wish).one("Content-Encoding") == "gzip"
    for path in ("/api/orders", "/auth/login", "/"):
        assert door.ask(path, headers=wish).one("Content-Encoding") is None


@pytest.mark.parametrize("down", [False, True])
def test_no_secret_gets_into_the_log(kind: str, open_one: Open, *, down: bool) -> None:
    nobody = "127.0.0.1:1"
    dead = {"API_UPSTREAM": nobody, "HOT_UPSTREAM": nobody, "STREAMLIT_UPSTREAM": nobody}
    door = open_one(kind, **(dead if down else {}))
    wish = json.dumps({"headers": {"Set-Cookie": "a=planted-set", "Front-Token": "planted-front"}})
    before = len(door.access_log())
    paths = (
        "/auth/reset?token=planted-query",
        "/_stcore/upload_file/planted-session/planted-file?x=planted-upload",
        "/static/x?planted-static",
        "/api/internal?planted-private",
    )
    for path in paths:
        door.ask(path, headers={**PLANTED, WISH: wish})
        door.ask(path, headers=PLANTED, host="evil.test")
        door.ask(path, method="POST", headers=PLANTED, body=b"planted-body" * 300_000)
    door.ask("/api/x", headers={**PLANTED, "X-Long": "planted-long" * 3000})
    logged = door.access_log(before + 3 * len(paths))[before:]
    assert {"/auth/reset", "/_stcore/upload_file/"} <= {one["request"]["uri"] for one in logged}
    assert "planted" not in door.log
    assert SECRET not in door.log


def test_the_secret_is_in_no_listing_of_the_configuration(kind: str, open_one: Open) -> None:
    door = open_one(kind)
    if kind == "caddy":
        adapted = door.command("adapt")
        assert SECRET not in door.act("adapt").stdout
        assert "{env.PROXY_SECRET}" in door.act("adapt").stdout, adapted
    else:
        holders = [
            path for path in (door.folder / "nginx").glob("*.conf") if SECRET in path.read_text()
        ]
        assert [path.name for path in holders] == ["proxy_secret.conf"]
        assert holders[0].stat().st_mode & 0o077 == 0


def test_the_secret_may_come_as_a_file(
    kind: str, open_one: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("secrets") / "proxy_secret"
    path.write_text("it-came-as-a-file\n")
    door = open_one(kind, PROXY_SECRET="", PROXY_SECRET_FILE=str(path))
    assert door.ask("/", Cookie=SESSION).sent_on("x-proxy-secret") == ["it-came-as-a-file"]
