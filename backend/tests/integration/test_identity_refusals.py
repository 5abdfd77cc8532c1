"""What is no session, what another site sent, what is not there, and what happens in an outage."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from fixtures_core import (
    PUBLIC_URL,
    Core,
    SignedIn,
    SignIn,
    begin_session,
    eventually,
    reset_sdk,
)
from fixtures_postgres import Database as Postgres
from identity_world import (
    browser,
    code,
    enter,
    form,
    settings_for,
    small_app,
)

from app.services.core_client import CoreClient, DevcoreRefused


@pytest.fixture
async def app(database: Postgres, core: Core) -> AsyncIterator[FastAPI]:
    async with small_app(settings_for(database, core)) as app:
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(app) as client:
        yield client


# --- tokens that are not ours ---------------------------------------------------------------


def in_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encoded(value: object) -> str:
    return in_base64(json.dumps(value).encode())


async def forgeries(core: Core, user: SignedIn) -> dict[str, str]:
    """Make every token that somebody without the core's key could make."""
    header, claims, signature = user.access_token.split(".")
    kid = jwt.get_unverified_header(user.access_token)["kid"]
    payload = jwt.decode(user.access_token, options={"verify_signature": False})
    async with httpx.AsyncClient(base_url=core.uri) as client:
        keys = (await client.get("/.well-known/jwks.json")).json()["keys"]
    public = jwt.PyJWK(next(key for key in keys if key["kid"] == kid))
    pem = public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    named = {"typ": "JWT", "kid": kid, "version": "5"}
    hs256 = f"{encoded({**named, 'alg': 'HS256'})}.{claims}"
    mac = hmac.new(pem, hs256.encode(), hashlib.sha256).digest()
    own_key = generate_private_key(65_537, 2048)
    static = await begin_session(core, str(user.user_id), useDynamicSigningKey=False)
    foreign = await begin_session(core, str(user.user_id), public_url="https://other.example")
    other = encoded({**payload, "sub": str(uuid4())})
    return {
        "claims of another user": f"{header}.{other}.{signature}",
        "no signature": f"{header}.{claims}.",
        "alg none": f"{encoded({**named, 'alg': 'none'})}.{claims}.",
        "HS256 with the public key": f"{hs256}.{in_base64(mac)}",
        "another key": jwt.encode(payload, own_key, "RS256", headers={"kid": kid, "version": "5"}),
        "an unknown key": jwt.encode(
            payload, own_key, "RS256", headers={"kid": "d-1", "version": "5"}
        ),
        "a path as key": jwt.encode(
            payload, own_key, "RS256", headers={"kid": "../x", "version": "5"}
        ),
        "the static key": static["accessToken"]["token"],
        "another issuer": foreign["accessToken"]["token"],
        "a refresh token": user.refresh_token,
        "nonsense": "a.b.c",
        "nothing": "",
    }


async def test_no_forged_token_is_a_session(app: FastAPI, core: Core, signed_in: SignIn) -> None:
    user = await signed_in("trader")
    async with browser(app, user) as client:
        assert (await client.get("/api/who")).status_code == 200
    for name, token in (await forgeries(core, user)).items():
        async with browser(app) as client:
            answer = await client.get("/api/who", headers={"Cookie": f"sAccessToken={token}"})
        assert answer.status_code == 401, name
        assert answer.json()["code"] in ("session_required", "session_expired"), name


async def test_an_expired_token_asks_for_a_refresh(
    app: FastAPI, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await signed_in("trader")
    moved = "supertokens_python.recipe.session.access_token.get_timestamp_ms"
    monkeypatch.setattr(moved, lambda: 10**14)
    async with browser(app, user) as client:
        assert code(await client.get("/api/who")) == (401, "session_expired")


async def test_a_token_in_a_header_is_no_session(app: FastAPI, signed_in: SignIn) -> None:
    user = await signed_in("trader")
    async with browser(app) as client:
        client.headers["Authorization"] = f"Bearer {user.access_token}"
        assert code(await client.get("/api/who")) == (401, "session_required")


async def test_an_access_token_does_not_refresh(
    client: httpx.AsyncClient, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    answer = await client.post(
        "/auth/session/refresh", headers={"Cookie": f"sRefreshToken={user.access_token}"}
    )
    assert code(answer) == (401, "session_required")


async def test_requests_of_two_users_never_mix(app: FastAPI, signed_in: SignIn) -> None:
    users = [await signed_in("trader") for _ in range(2)]

    async def ask(user: SignedIn) -> bool:
        async with browser(app, user) as client:
            seen = [(await client.get("/api/who")).json()["user_id"] for _ in range(10)]
        return set(seen) == {str(user.user_id)}

    assert all(await asyncio.gather(*(ask(users[n % 2]) for n in range(20))))


# --- other sites ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": PUBLIC_URL},
        {"rid": "x"},
        {},
        {"rid": "x", "Origin": "https://evil.example"},
        {"rid": "x", "Origin": "null"},
        {"rid": "x", "Origin": f"{PUBLIC_URL}.evil.example"},
        {"rid": "", "Origin": PUBLIC_URL},
    ],
)
async def test_a_write_needs_a_header_and_our_origin_before_any_session(
    app: FastAPI, signed_in: SignIn, headers: dict[str, str]
) -> None:
    for user in (await signed_in("trader"), None):
        async with browser(app, user) as client:
            del client.headers["rid"], client.headers["Origin"]
            answer = await client.post("/api/who", headers=headers)
            assert code(answer) == (403, "csrf_rejected")


async def test_sign_in_pages_take_no_foreign_origin_but_programs_without_one(
    client: httpx.AsyncClient, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    body = form(user.email, user.password)
    foreign = {"Origin": "https://evil.example"}
    assert code(await client.post("/auth/signin", json=body, headers=foreign))[0] == 403
    del client.headers["Origin"]
    await enter(client, user)
    del client.headers["rid"]
    assert code(await client.post("/auth/signin", json=body)) == (403, "csrf_rejected")


async def test_webhooks_are_not_for_browsers_and_need_neither(app: FastAPI) -> None:
    async with browser(app) as client:
        del client.headers["rid"], client.headers["Origin"]
        assert (await client.post("/api/webhooks/x")).status_code == 200


# --- closed doors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/auth/signup"),
        ("POST", "/auth/public/signup"),
        ("POST", "/auth/public/signin"),
        ("POST", "/auth/signin/"),
        ("POST", "/auth/signin;x=1"),
        ("POST", "/auth/user/password/reset/token"),
        ("GET", "/auth/signup/email/exists?email=a@b.example"),
        ("GET", "/auth/emailpassword/email/exists?email=a@b.example"),
        ("GET", "/auth/oauth/auth"),
        ("POST", "/auth/oauth/token"),
        ("GET", "/auth/.well-known/openid-configuration"),
        ("GET", "/auth/dashboard"),
    ],
)
async def test_what_the_sdk_would_also_serve_is_not_there(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    body = form("a@b.example", "correct 123") if method == "POST" else None
    assert (await client.request(method, path, json=body)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'{"formFields": 5}',
        b'{"formFields": [5]}',
        b'{"formFields": [{"id": "email"}]}',
        b'{"formFields": [{"id": "email", "value": 5}, {"id": "password", "value": "x"}]}',
        b'{"formFields": [{"id": "email", "value": "a\\u0000@b.example"}]}',
        b'{"formFields": [{"id": "email", "value": "\\ud800@b.example"}]}',
        b"[" * 10_000,
        b'{"formFields": [{"id": "email", "value": "' + b"x" * 20_000 + b'"}]}',
    ],
)
async def test_a_form_that_is_none_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/auth/signin", content=body)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("a@" + "b" * 300 + ".example", "correct 123"),
        ("ä@example.com", "correct 123"),
        ("someone@example.com", "x" * 5000),
    ],
)
async def test_odd_credentials_are_only_wrong(
    client: httpx.AsyncClient, email: str, password: str
) -> None:
    answer = await client.post("/auth/signin", json=form(email, password))
    assert answer.status_code == 200
    assert answer.json()["status"] in ("WRONG_CREDENTIALS_ERROR", "FIELD_ERROR")


# --- guessing -------------------------------------------------------------------------------


async def test_guessing_is_limited_per_account_and_per_address(
    database: Postgres, core: Core, signed_in: SignIn
) -> None:
    user, other = await signed_in("trader"), await signed_in("trader")
    settings = settings_for(database, core, signin_limit_per_minute=5)
    async with small_app(settings) as app:
        async with browser(app, client=("192.0.2.1", 1)) as client:
            for _ in range(3):
                await enter(client, user)
            for _ in range(5):
                wrong = await client.post("/auth/signin", json=form(user.email, "wrong 1234"))
                assert wrong.json()["status"] == "WRONG_CREDENTIALS_ERROR"
            for known in (user, other):
                refused = await client.post("/auth/signin", json=form(known.email, known.password))
                assert code(refused) == (429, "too_many_requests")
                assert re.fullmatch(r"[1-9]\d?", refused.headers["retry-after"])
        async with browser(app, client=("192.0.2.2", 1)) as client:
            await enter(client, other)
            refused = await client.post("/auth/signin", json=form(user.email, user.password))
            assert code(refused) == (429, "too_many_requests")


async def test_guesses_sent_together_do_not_slip_through(
    database: Postgres, core: Core, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    settings = settings_for(database, core, signin_limit_per_minute=5)
    async with small_app(settings) as app, browser(app) as client:
        answers = await asyncio.gather(
            *(
                client.post("/auth/signin", json=form(user.email, f"wrong {n:05}"))
                for n in range(20)
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 15


# --- the core is not there ------------------------------------------------------------------


async def test_without_the_core_sessions_are_put_off_and_not_lost(
    database: Postgres, core: Core, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    nowhere = Core("http://127.0.0.1:9", core.api_key)
    async with small_app(settings_for(database, nowhere)) as app, browser(app, user) as client:
        for answer in (
            await client.get("/api/who"),
            await client.post("/auth/signin", json=form(user.email, user.password)),
            await client.post("/auth/signout"),
        ):
            assert code(answer) == (503, "identity_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        client.cookies.clear()
        refresh = await client.post(
            "/auth/session/refresh", headers={"Cookie": f"sRefreshToken={user.refresh_token}"}
        )
        assert code(refresh) == (503, "identity_unavailable")
        assert "set-cookie" not in refresh.headers
        assert code(await client.get("/api/who")) == (401, "session_required")


async def test_a_core_that_refuses_our_key_is_an_outage(
    database: Postgres, core: Core, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    settings = settings_for(database, core, core_api_key="z" * 40)
    async with small_app(settings) as app, browser(app, user) as client:
        answer = await client.post("/auth/signin", json=form(user.email, user.password))
        assert code(answer) == (503, "identity_unavailable")


async def test_without_the_database_nobody_signs_out_only_in_part(
    app: FastAPI, client: httpx.AsyncClient, core: Core, signed_in: SignIn, database: Postgres
) -> None:
    await enter(client, await signed_in("trader"))
    handle = (await client.get("/api/who")).json()["session_handle"]
    admin = await database.connect("postgres")
    await admin.execute("ALTER ROLE app_write NOLOGIN")
    try:
        await app.state.database.engine.dispose()
        # A pooler has sessions of its own.
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_write'"
        )
        assert code(await client.post("/auth/signout"))[0] == 503
    finally:
        await admin.execute("ALTER ROLE app_write LOGIN")
    session = await core.call("GET", "/recipe/session", sessionHandle=handle)
    assert session["status"] == "OK"

    async def signed_out() -> bool:
        return (await client.post("/auth/signout")).status_code == 200

    # A pooler that was refused asks again only after a second.
    await eventually(signed_out)


async def test_production_refuses_the_development_core(
    database: Postgres, core: Core, signed_in: SignIn
) -> None:
    user = await signed_in("trader")
    settings = settings_for(database, core, app_env="production")
    client = CoreClient(settings)
    with pytest.raises(DevcoreRefused):
        await client.keys.refresh()
    await client.close()
    reset_sdk()
    async with small_app(settings) as app, browser(app, user) as page:
        assert code(await page.get("/api/who")) == (503, "identity_unavailable")
        signing_in = await page.post("/auth/signin", json=form(user.email, user.password))
        assert code(signing_in) == (503, "identity_unavailable")
