"""Which path goes where: one table for both proxies."""

from itertools import chain

import pytest
from proxy.doors import Door
from proxy.upstream import SESSION, Upstream

pytestmark = pytest.mark.xdist_group("proxy")

OPEN = {
    "/static/js/index.js": "streamlit",
    "/favicon.png": "streamlit",
    "/auth/login?next=/": "api",
    "/auth/signin": "api",
    "/api/orders": "api",
    "/api/health/live": "api",
    "/api/data/bars": "api",
    "/api/lmdb": "api",
    "/api/lmdb/quotes/AAPL": "hot",
    "/API/LMDB/quotes/AAPL": "hot",
    "/api/lmdb/quotes/a%2Fb%20c": "hot",
    "/api/orders?x=%2Fapi%2Finternal": "api",
    "/API/orders": "api",
    # Names that only begin like private ones.
    "/api/internalx": "api",
    "/auth/verifyx": "api",
    # It leads out of the private folder, and the API knows no such path as it stands.
    "/api/internal/../orders": "api",
}
GATED = (
    "/",
    "/Trades?account=2",
    "/api",
    "/auth",
    "/static",
    "/metricsx",
    "/media/x.csv",
    "/session/renew",
    "/_stcore/health",
    "/_stcore/host-config",
    "/_stcore/stream",
    "/static/../media/x.csv",
    "/static/%2e%2e/media/x.csv",
)
PRIVATE = (
    "/api/internal",
    "/api/internal/sessions/check",
    "/auth/verify",
    "/auth/jwt/jwks.json",
    "/metrics",
    "/metrics/x",
    "/_stcore/metrics",
    "/_stcore/metrics/x",
    "/_stcore/agent/openapi.json",
    "/_stcore/script-health-check",
)
# Other spellings under which a server behind might take it for a private one.
DISGUISED = (
    "/API/internal/x",
    "/Api/Internal/x",
    "//api/internal/x",
    "/api//internal/x",
    "/api/./internal/x",
    "/api/../api/internal/x",
    "/api/%2e%2e/api/internal/x",
    "/api/%2E./api/internal/x",
    "/api/orders/../internal/x",
    "/api/data/../internal/x",
    "/api/lmdb/t/../../internal/x",
    "/static/../api/internal/x",
    "/static/..%2fapi/internal/x",
    "/api%2finternal/x",
    "/api/internal%2fx",
    "/%61pi/%69nternal/x",
    "/api/internal?x=1",
    "/api/internal/",
    "/AUTH/VERIFY",
    "/auth//verify",
    "/auth/x/../verify",
    "/auth/%76erify",
    "/METRICS",
    "//metrics",
    "/x/../metrics",
    "/_stcore/../metrics",
    "/_STCORE/METRICS",
    "/_stcore//agent",
)
# Nothing that a browser or a program of ours would ever send.
ABSURD = ("/../api/internal/x", "/%2e%2e/metrics", "/%2e%2e%2f%2e%2e%2fmetrics", "/api/%zz", "/%")


def asked(upstreams: dict[str, Upstream]) -> list[str]:
    """Every path that anybody behind the proxy was asked for, but for the gate's question."""
    seen = chain.from_iterable(upstream.seen for upstream in upstreams.values())
    return [one.path for one in seen if one.path != "/auth/verify"]


@pytest.mark.parametrize(("path", "upstream"), OPEN.items())
def test_a_path_goes_where_it_belongs_and_arrives_as_it_was_sent(
    door: Door, path: str, upstream: str
) -> None:
    for headers in ({}, {"Cookie": SESSION}):
        answer = door.ask(path, headers=headers)
        assert (answer.status, answer.reached, answer.said["path"]) == (200, upstream, path)


@pytest.mark.parametrize("path", GATED)
def test_everything_else_is_the_screens_and_needs_a_session(
    door: Door, upstreams: dict[str, Upstream], path: str
) -> None:
    stranger = door.ask(path)
    assert (stranger.status, stranger.said["code"]) == (401, "session_required")
    assert asked(upstreams) == []
    answer = door.ask(path, Cookie=SESSION)
    assert (answer.status, answer.reached, answer.said["path"]) == (200, "streamlit", path)


@pytest.mark.parametrize("path", PRIVATE + DISGUISED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_private_path_is_not_there_however_it_is_spelled(
    door: Door, upstreams: dict[str, Upstream], path: str, method: str
) -> None:
    answer = door.ask(path, method=method, body=b"", Cookie=SESSION)
    assert (answer.status, answer.body) == (404, b"")
    assert asked(upstreams) == []


@pytest.mark.parametrize("path", ABSURD)
def test_an_absurd_path_reaches_nobody(
    door: Door, upstreams: dict[str, Upstream], path: str
) -> None:
    assert door.ask(path, Cookie=SESSION).status in (400, 404)
    assert asked(upstreams) == []


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "10.0.0.1:80", "xlocalhost"])
def test_a_name_that_nobody_gave_us_gets_nothing(
    door: Door, upstreams: dict[str, Upstream], host: str
) -> None:
    for path in ("/", "/api/orders", "/auth/login", "/static/x"):
        answer = door.ask(path, host=host, Cookie=SESSION)
        assert (answer.status, answer.body) == (421, b"")
    assert asked(upstreams) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:PORT", "[::1]:PORT"])
def test_other_names_of_this_machine_lead_to_the_one_that_cookies_know(
    door: Door, host: str
) -> None:
    answer = door.ask("/Trades?a=b%20c", host=host.replace("PORT", str(door.port)))
    assert answer.status == 308
    assert answer.one("Location") == f"{door.url}/Trades?a=b%20c"


def test_the_name_counts_not_the_port_or_the_case(door: Door) -> None:
    for host in ("localhost", "LOCALHOST:1"):
        assert door.ask("/api/orders", host=host).reached == "api"


def test_health_is_answered_under_any_name(door: Door, upstreams: dict[str, Upstream]) -> None:
    for host in (door.host, "10.2.3.4:8080", "proxy"):
        answer = door.ask("/healthz", host=host)
        assert (answer.status, answer.body) == (200, b"ok")
    assert asked(upstreams) == []
