"""A browser's way through the SDK: sign in, use, refresh, sign out; and what ends a session."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fixtures_core import Core, SignIn, begin_session
from fixtures_postgres import Database as Postgres
from identity_world import (
    actions,
    browser,
    code,
    enter,
    form,
    revoked,
    row_of,
    settings_for,
    small_app,
)
from supertokens_python.recipe.session.asyncio import (
    revoke_all_sessions_for_user,
    revoke_session,
)
from supertokens_python.recipe.usermetadata.asyncio import update_user_metadata
from supertokens_python.recipe.userroles.asyncio import (
    add_role_to_user,
    get_roles_for_user,
    remove_user_role,
)

from app.services.core_client import CoreClient
from app.services.db import Database


@pytest.fixture
async def app(database: Postgres, core: Core) -> AsyncIterator[FastAPI]:
    async with small_app(settings_for(database, core)) as app:
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(app) as client:
        yield client


# --- the way in and out ---------------------------------------------------------------------


async def test_signing_in_gives_cookies_that_scripts_cannot_read(
    client: httpx.AsyncClient, signed_in: SignIn
) -> None:
    answer = await enter(client, await signed_in("trader"))
    cookies = {c.split("=", 1)[0]: c for c in answer.headers.get_list("set-cookie")}
    assert set(cookies) == {"sAccessToken", "sRefreshToken"}
    for cookie in cookies.values():
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
    assert "Path=/;" in cookies["sAccessToken"] + ";"
    assert "Path=/auth/session/refresh" in cookies["sRefreshToken"]
    assert not {"st-access-token", "st-refresh-token"} & set(answer.headers)


async def test_cookies_are_secure_where_the_address_is(
    database: Postgres, core: Core, signed_in: SignIn
) -> None:
    origin = "https://trade.example"
    settings = settings_for(database, core, public_url=origin)
    user = await signed_in("trader", public_url=origin)
    async with small_app(settings) as app, browser(app) as client:
        client.headers["Origin"] = origin
        answer = await enter(client, user)
        for cookie in answer.headers.get_list("set-cookie"):
            assert "Secure" in cookie


async def test_a_session_says_who_it_is(
    client: httpx.AsyncClient, app: FastAPI, signed_in: SignIn
) -> None:
    user = await signed_in("viewer")
    await enter(client, user)
    assert (await client.get("/api/who")).json()["user_id"] == str(user.user_id)
    assert (await client.post("/api/who")).json()["user_id"] == str(user.user_id)


async def test_an_ordinary_request_asks_neither_the_core_nor_the_database(
    app: FastAPI, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await signed_in("viewer")

    async def nobody(*_: object, **__: object) -> None:
        pytest.fail("somebody was asked")

    monkeypatch.setattr(CoreClient, "request", nobody)
    monkeypatch.setattr(Database, "_acquire", nobody)
    async with browser(app, user) as client:
        assert (await client.get("/api/who")).status_code == 200


async def test_a_refresh_is_taken_into_use_by_the_next_request(
    client: httpx.AsyncClient, signed_in: SignIn
) -> None:
    await enter(client, await signed_in("trader"))
    before = dict(client.cookies)
    assert (await client.post("/auth/session/refresh")).status_code == 200
    refreshed = dict(client.cookies)
    assert before["sRefreshToken"] != refreshed["sRefreshToken"]
    first = await client.get("/api/who")
    assert first.status_code == 200
    assert "sAccessToken" in first.headers["set-cookie"]
    assert "set-cookie" not in (await client.get("/api/who")).headers


async def test_signing_out_ends_the_session_in_our_tables_and_in_the_core(
    client: httpx.AsyncClient, core: Core, database: Postgres, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    await enter(client, user)
    handle = (await client.get("/api/who")).json()["session_handle"]
    refresh_token = client.cookies["sRefreshToken"]
    answer = await client.post("/auth/signout")
    assert answer.status_code == 200
    assert not dict(client.cookies)
    assert await revoked(database, handle)
    assert (f"user:{user.user_id}", "session.revoke") in await actions(database)
    gone = await core.call("POST", "/recipe/session/refresh", refreshToken=refresh_token)
    assert gone["status"] == "UNAUTHORISED"


async def test_a_used_refresh_token_ends_the_whole_session(
    client: httpx.AsyncClient, database: Postgres, signed_in: SignIn
) -> None:
    await enter(client, await signed_in("trader"))
    handle = (await client.get("/api/who")).json()["session_handle"]
    stolen = client.cookies["sRefreshToken"]
    await client.post("/auth/session/refresh")
    assert (await client.get("/api/who")).status_code == 200
    newest = client.cookies["sRefreshToken"]
    for token in (stolen, newest):
        client.cookies.clear()
        answer = await client.post(
            "/auth/session/refresh", headers={"Cookie": f"sRefreshToken={token}"}
        )
        assert code(answer) == (401, "session_required")
    assert await revoked(database, handle)
    assert ("system:identity", "session.revoke") in await actions(database)


async def test_signing_in_begins_a_new_session_whatever_the_browser_holds(
    client: httpx.AsyncClient, core: Core, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    await enter(client, user)
    first = (await client.get("/api/who")).json()["session_handle"]
    await core.call("POST", "/recipe/session/remove", sessionHandles=[first])
    await enter(client, user)
    assert (await client.get("/api/who")).json()["session_handle"] != first
    client.cookies.set("sAccessToken", "planted.by.somebody", domain="localhost.local")
    await enter(client, user)


# --- what ends sessions and rights ----------------------------------------------------------


async def test_sessions_that_an_administrator_ends_are_ended_in_our_tables_first(
    app: FastAPI, core: Core, database: Postgres, signed_in: SignIn
) -> None:
    one, two = await signed_in("trader"), await signed_in("trader")
    assert await revoke_session(one.session_handle)
    more = (await begin_session(core, str(two.user_id)))["session"]["handle"]
    ended = await revoke_all_sessions_for_user(str(two.user_id))
    assert sorted(ended) == sorted([two.session_handle, more])
    for handle in (one.session_handle, two.session_handle, more):
        assert await revoked(database, handle)


async def test_a_role_is_one_and_in_our_tables(
    app: FastAPI, database: Postgres, signed_in: SignIn
) -> None:
    user = await signed_in("viewer")
    user_id = str(user.user_id)
    for role in ("viewer", "trader", "admin"):
        await add_role_to_user("public", user_id, role)
        assert (await get_roles_for_user("public", user_id)).roles == [role]
        assert await row_of(database, user.user_id) == (role, False)
    await remove_user_role("public", user_id, "admin")
    assert (await row_of(database, user.user_id))[1] is True
    assert await revoked(database, user.session_handle)


async def test_a_disabled_user_stays_disabled_and_cannot_sign_in(
    app: FastAPI, client: httpx.AsyncClient, database: Postgres, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    user_id = str(user.user_id)
    await add_role_to_user("public", user_id, "trader")
    await update_user_metadata(user_id, {"disabled": True})
    assert await row_of(database, user.user_id) == ("trader", True)
    assert await revoked(database, user.session_handle)
    await add_role_to_user("public", user_id, "admin")
    assert await row_of(database, user.user_id) == ("admin", True)
    answer = await client.post("/auth/signin", json=form(user.email, user.password))
    assert answer.json() == {"status": "WRONG_CREDENTIALS_ERROR"}
    await update_user_metadata(user_id, {"disabled": False})
    await enter(client, user)


async def test_a_new_password_ends_every_session(
    client: httpx.AsyncClient, core: Core, database: Postgres, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    made = await core.call(
        "POST",
        "/public/recipe/user/password/reset/token",
        userId=str(user.user_id),
        email=user.email,
    )
    body = {
        "method": "token",
        "token": made["token"],
        "formFields": [{"id": "password", "value": "a new one 123"}],
    }
    answer = await client.post("/auth/user/password/reset", json=body)
    assert answer.json()["status"] == "OK"
    assert await revoked(database, user.session_handle)
