"""The session gate: who passes, who does not, and what a page sees of those who do."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gate.sockets import Sockets
from gate_world import PUBLIC_URL, Login, World, gate_world, seen_by_the_page, until
from websockets.exceptions import InvalidStatus

SOMEBODY_ELSE = "11111111-2222-4333-8444-555555555555"
FORGED: dict[str, dict[str, str | None]] = {
    "no proxy secret": {"X_Proxy_Secret": None},
    "a wrong proxy secret": {"X_Proxy_Secret": "guess"},
    "an empty proxy secret": {"X_Proxy_Secret": ""},
    "no user": {"X_User_Id": None},
    "a user id that is none": {"X_User_Id": "root"},
    "no role": {"X_User_Role": None},
    "a role that is none": {"X_User_Role": "owner"},
    "no session": {"X_Session_Handle": None},
    "a session handle that is none": {"X_Session_Handle": "a b"},
    "another user's id": {"X_User_Id": SOMEBODY_ELSE},
    "another role": {"X_User_Role": "admin"},
    "another session's handle": {"X_Session_Handle": SOMEBODY_ELSE},
    "no cookie": {"Cookie": None},
    "no token in the cookie": {"Cookie": "theme=dark"},
    "a token nobody signed": {"Cookie": "sAccessToken=eyJhbGciOiJub25lIn0.e30."},
    "a token that would write a header": {"Cookie": "sAccessToken=a%0d%0aX-Evil:1"},
}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with gate_world() as opened:
        yield opened


async def refusal(world: World, headers: Any, path: str = "/_stcore/stream") -> int:
    """The status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with world.connect(headers, path):
            pass
    return refused.value.response.status_code


async def test_a_confirmed_user_passes_and_the_page_sees_neither_secret_nor_token(
    world: World,
) -> None:
    login = world.api.login()
    answer = await world.get("/", world.headers(login))
    assert answer.status_code == httpx.codes.OK
    seen = dict(answer.json()["headers"])
    async with world.connect(world.headers(login)) as connection:
        for headers in (seen, await seen_by_the_page(connection)):
            assert headers["x-user-id"] == login.identity.user_id
            assert headers["cookie"] == "_streamlit_xsrf=x; theme=dark"
            assert "x-proxy-secret" not in headers
            assert login.token not in json.dumps(headers)


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED.keys())
async def test_a_request_that_is_not_whole_is_refused(
    world: World, changes: dict[str, str | None]
) -> None:
    login = world.api.login()
    headers = world.headers(login, **changes)
    answer = await world.get("/", headers)
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["code"] == "session_required"
    assert await refusal(world, headers) == httpx.codes.UNAUTHORIZED
    assert len(world.vault) == 0


@pytest.mark.parametrize("name", ["X-Proxy-Secret", "X-User-Id", "X-User-Role", "X-Session-Handle"])
async def test_what_is_stated_twice_is_not_believed(world: World, name: str) -> None:
    login = world.api.login()
    headers = [*world.headers(login).items(), (name, world.headers(login)[name])]
    assert (await world.get("/", headers)).status_code == httpx.codes.UNAUTHORIZED
    assert await refusal(world, headers) == httpx.codes.UNAUTHORIZED


async def test_another_users_token_does_not_carry_a_stated_identity(world: World) -> None:
    alice, bob = world.api.login(), world.api.login()
    headers = world.headers(alice, Cookie=f"sAccessToken={bob.token}")
    assert (await world.get("/", headers)).status_code == httpx.codes.UNAUTHORIZED
    assert await refusal(world, headers) == httpx.codes.UNAUTHORIZED


async def test_a_revoked_session_opens_nothing(world: World) -> None:
    login = world.api.login(active=False)
    assert (await world.get("/", world.headers(login))).status_code == httpx.codes.UNAUTHORIZED
    assert await refusal(world, world.headers(login)) == httpx.codes.UNAUTHORIZED


async def test_a_session_that_the_api_still_remembers_opens_no_websocket(world: World) -> None:
    login = world.api.login(active=False)
    world.api.remembers = True
    assert await refusal(world, world.headers(login)) == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize("origin", ["http://evil.test", "null", f"{PUBLIC_URL}.evil.test", None])
async def test_a_websocket_needs_our_own_origin(world: World, origin: str | None) -> None:
    login = world.api.login()
    assert await refusal(world, world.headers(login, Origin=origin)) == httpx.codes.FORBIDDEN


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_what_may_change_something_needs_our_own_origin(world: World, method: str) -> None:
    login = world.api.login()
    foreign = world.headers(login, Origin="http://evil.test")
    answer = await world.get("/_stcore/upload_file/a/b", foreign, method)
    assert answer.status_code == httpx.codes.FORBIDDEN
    ours = await world.get("/_stcore/upload_file/a/b", world.headers(login), method)
    assert ours.status_code == httpx.codes.OK


@pytest.mark.parametrize("path", ["/static/js/index.js", "/favicon.png", "/_stcore/health"])
async def test_the_bundle_is_open_and_whoever_asks_is_nobody(world: World, path: str) -> None:
    assert (await world.get(path)).status_code == httpx.codes.OK
    login = world.api.login()
    seen = dict((await world.get(path, world.headers(login))).json()["headers"])
    assert not {"x-user-id", "x-user-role", "x-session-handle", "x-proxy-secret"} & seen.keys()
    assert login.token not in json.dumps(seen)
    assert (await world.get(path, method="POST")).status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize(
    "path", ["/_stcore/metrics", "/_stcore/agent/openapi.json", "/_stcore/script-health-check"]
)
async def test_what_nobody_of_ours_asks_is_not_there(world: World, path: str) -> None:
    answer = await world.get(path, world.headers(world.api.login()))
    assert answer.status_code == httpx.codes.NOT_FOUND


async def test_there_is_one_websocket_and_no_other(world: World) -> None:
    headers = world.headers(world.api.login())
    assert await refusal(world, headers, "/static/stream") == httpx.codes.NOT_FOUND


async def test_without_a_clear_word_of_the_api_nobody_passes(world: World) -> None:
    login = world.api.login()
    world.api.down = True
    answer = await world.get("/", world.headers(login))
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert await refusal(world, world.headers(login)) == httpx.codes.SERVICE_UNAVAILABLE


async def test_a_user_may_open_so_many_sockets_and_no_more() -> None:
    async with gate_world(sockets=Sockets(total_max=3, per_user_max=2)) as world:
        alice, bob, carol = (world.api.login() for _ in range(3))
        async with world.connect(world.headers(alice)), world.connect(world.headers(alice)):
            assert await refusal(world, world.headers(alice)) == httpx.codes.SERVICE_UNAVAILABLE
            async with world.connect(world.headers(bob)):
                assert await refusal(world, world.headers(carol)) == 503


async def test_the_vault_holds_a_pass_as_long_as_a_socket_is_open(world: World) -> None:
    login = world.api.login()
    handle = login.identity.session_handle
    async with world.connect(world.headers(login)) as first:
        await seen_by_the_page(first)
        async with world.connect(world.headers(login)) as second:
            await seen_by_the_page(second)
        held = world.vault.get(handle)
        assert held is not None
        assert (held.token, held.identity) == (login.token, login.identity)
    await until(lambda: not list(world.sockets))
    assert world.vault.get(handle) is None


async def renew(world: World, login: Login, **changes: str | None) -> httpx.Response:
    headers = world.headers(login, **{"rid": "anti-csrf", **changes})
    return await world.get("/session/renew", headers, "POST")


async def test_a_renewed_token_takes_the_place_of_the_old_one(world: World) -> None:
    login = world.api.login()
    async with world.connect(world.headers(login)) as connection:
        await seen_by_the_page(connection)
        fresh = Login(login.identity)
        world.api.logins[fresh.token] = fresh
        assert (await renew(world, fresh)).status_code == httpx.codes.OK
        held = world.vault.get(login.identity.session_handle)
        assert held is not None
        assert held.token == fresh.token


async def test_a_token_is_only_taken_over_from_our_own_pages_and_for_open_ones(
    world: World,
) -> None:
    login = world.api.login()
    assert (await renew(world, login)).status_code == httpx.codes.OK
    assert len(world.vault) == 0
    assert (await renew(world, login, rid=None)).status_code == httpx.codes.FORBIDDEN
    assert (await renew(world, login, Origin="http://evil.test")).status_code == 403
    assert (await renew(world, login, Cookie=None)).status_code == httpx.codes.UNAUTHORIZED
    assert (await world.get("/session/renew", world.headers(login))).status_code == 404
