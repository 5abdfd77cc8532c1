"""What every core has to answer: shapes recorded from SuperTokens Core 11.4, and its refusals.

Runs against the core named by SUPERTOKENS_URI (its key in CORE_API_KEY), else the development core.
"""

import os
import time
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from fixtures_core import Core, begin_session

FOREIGN = os.environ.get("SUPERTOKENS_URI")
PASSWORD = "correct horse 1"
TOKEN_FIELDS = {"token", "expiry", "createdTime"}


@pytest.fixture
def any_core(request: pytest.FixtureRequest) -> Core:
    """The core under test."""
    if FOREIGN:
        return Core(FOREIGN.rstrip("/"), os.environ.get("CORE_API_KEY", ""))
    core: Core = request.getfixturevalue("core")
    return core


def address() -> str:
    return f"user-{uuid4().hex}@test.informania.dev"


async def sign_up(core: Core, email: str, password: str = PASSWORD) -> str:
    answer = await core.call("POST", "/public/recipe/signup", email=email, password=password)
    assert answer["status"] == "OK"
    return str(answer["recipeUserId"])


async def sign_in(core: Core, email: str, password: str = PASSWORD) -> dict[str, Any]:
    return await core.call("POST", "/public/recipe/signin", email=email, password=password)


async def test_the_core_speaks_the_version_the_sdk_speaks(any_core: Core) -> None:
    assert "5.4" in (await any_core.call("GET", "/apiversion"))["versions"]


async def test_hello_is_open_and_says_hello(any_core: Core) -> None:
    async with httpx.AsyncClient(base_url=any_core.uri) as client:
        answer = await client.get("/hello")
    assert answer.status_code == 200
    assert answer.text.startswith("Hello")


async def test_a_user_signs_up_in_the_shape_the_sdk_reads(any_core: Core) -> None:
    email = address()
    answer = await any_core.call(
        "POST", "/public/recipe/signup", email=f"  {email.upper()} ", password=PASSWORD
    )
    user = answer["user"]
    assert answer["recipeUserId"] == user["id"]
    assert user["emails"] == [email]
    assert user["isPrimaryUser"] is False
    assert user["tenantIds"] == ["public"]
    assert (user["phoneNumbers"], user["thirdParty"]) == ([], [])
    assert user["webauthn"] == {"credentialIds": []}
    assert abs(user["timeJoined"] - time.time() * 1000) < 60_000
    (way,) = user["loginMethods"]
    assert way == {
        "tenantIds": ["public"],
        "recipeUserId": user["id"],
        "verified": False,
        "timeJoined": user["timeJoined"],
        "recipeId": "emailpassword",
        "email": email,
    }


async def test_an_address_signs_up_once(any_core: Core) -> None:
    email = address()
    await sign_up(any_core, email)
    again = await any_core.call(
        "POST", "/public/recipe/signup", email=email.upper(), password="another 123"
    )
    assert again == {"status": "EMAIL_ALREADY_EXISTS_ERROR"}
    assert (await sign_in(any_core, email))["status"] == "OK"


async def test_the_right_password_alone_signs_in(any_core: Core) -> None:
    email = address()
    user_id = await sign_up(any_core, email)
    assert (await sign_in(any_core, email))["user"]["id"] == user_id
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), "x" * 5000):
        assert await sign_in(any_core, email, wrong) == {"status": "WRONG_CREDENTIALS_ERROR"}
    unknown = await sign_in(any_core, address())
    assert unknown == {"status": "WRONG_CREDENTIALS_ERROR"}


@pytest.mark.skipif(bool(FOREIGN), reason="a promise of the development core alone")
async def test_an_unknown_user_takes_as_long_as_a_wrong_password(any_core: Core) -> None:
    email = address()
    await sign_up(any_core, email)

    async def quickest_s(whose: str) -> float:
        times = []
        for _ in range(9):
            started = time.perf_counter()
            await sign_in(any_core, whose, "wrong password 1")
            times.append(time.perf_counter() - started)
        return min(times)

    known, unknown = await quickest_s(email), await quickest_s(address())
    assert unknown > known * 0.6


async def test_a_reset_token_works_once_and_ends_the_others(any_core: Core) -> None:
    email = address()
    user_id = await sign_up(any_core, email)
    path = "/public/recipe/user/password/reset/token"
    first, second = [
        (await any_core.call("POST", path, userId=user_id, email=email))["token"] for _ in "12"
    ]
    used = await any_core.call("POST", f"{path}/consume", token=first)
    assert used == {"status": "OK", "userId": user_id, "email": email}
    for token in (first, second, "nonsense"):
        again = await any_core.call("POST", f"{path}/consume", token=token)
        assert again == {"status": "RESET_PASSWORD_INVALID_TOKEN_ERROR"}
    nobody = await any_core.call("POST", path, userId=str(uuid4()), email=email)
    assert nobody == {"status": "UNKNOWN_USER_ID_ERROR"}


async def test_a_password_and_an_address_change(any_core: Core) -> None:
    email, other = address(), address()
    user_id = await sign_up(any_core, email)
    await sign_up(any_core, other)
    changed = await any_core.call("PUT", "/recipe/user", recipeUserId=user_id, password="new 12345")
    assert changed == {"status": "OK"}
    assert (await sign_in(any_core, email))["status"] == "WRONG_CREDENTIALS_ERROR"
    assert (await sign_in(any_core, email, "new 12345"))["status"] == "OK"
    taken = await any_core.call("PUT", "/recipe/user", recipeUserId=user_id, email=other)
    assert taken == {"status": "EMAIL_ALREADY_EXISTS_ERROR"}
    nobody = await any_core.call("PUT", "/recipe/user", recipeUserId=str(uuid4()), password="x")
    assert nobody == {"status": "UNKNOWN_USER_ID_ERROR"}


async def test_users_are_found_by_id_and_by_address(any_core: Core) -> None:
    email = address()
    user_id = await sign_up(any_core, email)
    by_id = await any_core.call("GET", "/user/id", userId=user_id)
    found = await any_core.call(
        "GET", "/public/users/by-accountinfo", email=email, doUnionOfAccountInfo="true"
    )
    assert found["users"] == [by_id["user"]]
    nobody = await any_core.call("GET", "/user/id", userId=str(uuid4()))
    assert nobody == {"status": "UNKNOWN_USER_ID_ERROR"}
    none = await any_core.call("GET", "/public/users/by-accountinfo", email=address())
    assert none == {"status": "OK", "users": []}
    assert (await any_core.call("GET", "/public/users/count"))["count"] >= 1


async def test_a_removed_user_is_gone_with_his_sessions(any_core: Core) -> None:
    user_id = await sign_up(any_core, address())
    session = await begin_session(any_core, user_id)
    assert await any_core.call("POST", "/user/remove", userId=user_id) == {"status": "OK"}
    gone = await any_core.call("GET", "/user/id", userId=user_id)
    assert gone == {"status": "UNKNOWN_USER_ID_ERROR"}
    handle = session["session"]["handle"]
    shown = await any_core.call("GET", "/recipe/session", sessionHandle=handle)
    assert shown["status"] == "UNAUTHORISED"


async def test_the_public_tenant_is_there(any_core: Core) -> None:
    tenant = await any_core.call("GET", "/public/recipe/multitenancy/tenant/v2")
    assert (tenant["status"], tenant["tenantId"]) == ("OK", "public")
    assert tenant["thirdParty"]["providers"] == []


async def test_roles_are_kept_given_and_taken(any_core: Core) -> None:
    role, user_id = f"role-{uuid4().hex}", await sign_up(any_core, address())
    unknown = {"status": "UNKNOWN_ROLE_ERROR"}
    give = {"userId": user_id, "role": role}
    assert await any_core.call("PUT", "/public/recipe/user/role", **give) == unknown
    assert await any_core.call("GET", "/recipe/role/permissions", role=role) == unknown
    keep = {"role": role, "permissions": ["read", "write"]}
    assert (await any_core.call("PUT", "/recipe/role", **keep))["createdNewRole"] is True
    assert (await any_core.call("PUT", "/recipe/role", **keep))["createdNewRole"] is False
    for had in (False, True):
        given = await any_core.call("PUT", "/public/recipe/user/role", **give)
        assert given == {"status": "OK", "didUserAlreadyHaveRole": had}
    of_user = await any_core.call("GET", "/public/recipe/user/roles", userId=user_id)
    assert of_user == {"status": "OK", "roles": [role]}
    with_role = await any_core.call("GET", "/public/recipe/role/users", role=role)
    assert with_role == {"status": "OK", "users": [user_id]}
    allowed = await any_core.call("GET", "/recipe/role/permissions", role=role)
    assert sorted(allowed["permissions"]) == ["read", "write"]
    fewer = await any_core.call(
        "POST", "/recipe/role/permissions/remove", role=role, permissions=["write"]
    )
    assert fewer == {"status": "OK"}
    assert (
        role in (await any_core.call("GET", "/recipe/permission/roles", permission="read"))["roles"]
    )
    assert role in (await any_core.call("GET", "/recipe/roles"))["roles"]
    taken = await any_core.call("POST", "/public/recipe/user/role/remove", **give)
    assert taken == {"status": "OK", "didUserHaveRole": True}
    removed = await any_core.call("POST", "/recipe/role/remove", role=role)
    assert removed == {"status": "OK", "didRoleExist": True}


async def test_metadata_merges_one_level_deep_and_null_removes(any_core: Core) -> None:
    user_id = await sign_up(any_core, address())
    path = "/recipe/user/metadata"
    assert (await any_core.call("GET", path, userId=user_id))["metadata"] == {}
    first = {"a": {"x": 1}, "b": 2}
    await any_core.call("PUT", path, userId=user_id, metadataUpdate=first)
    second = {"a": {"y": 1}, "b": None}
    merged = await any_core.call("PUT", path, userId=user_id, metadataUpdate=second)
    assert merged == {"status": "OK", "metadata": {"a": {"y": 1}}}
    assert (await any_core.call("GET", path, userId=user_id))["metadata"] == {"a": {"y": 1}}


async def test_a_session_begins_with_a_token_of_version_5(any_core: Core) -> None:
    user_id = str(uuid4())
    answer = await begin_session(any_core, user_id, userDataInDatabase={"kept": 1})
    session = answer["session"]
    assert set(session) == {"handle", "userId", "recipeUserId", "userDataInJWT", "tenantId"}
    assert (session["userId"], session["recipeUserId"]) == (user_id, user_id)
    assert set(answer["accessToken"]) == set(answer["refreshToken"]) == TOKEN_FIELDS
    token = answer["accessToken"]["token"]
    header, claims = (
        jwt.get_unverified_header(token),
        jwt.decode(token, options={"verify_signature": False}),
    )
    assert (header["alg"], header["typ"], header["version"]) == ("RS256", "JWT", "5")
    assert header["kid"].startswith("d-")
    assert claims["exp"] * 1000 == answer["accessToken"]["expiry"]
    assert (claims["sub"], claims["rsub"], claims["tId"]) == (user_id, user_id, "public")
    assert claims["sessionHandle"] == session["handle"]
    assert claims["parentRefreshTokenHash1"] is None
    assert claims["antiCsrfToken"] is None
    assert claims["iss"] == session["userDataInJWT"]["iss"]


async def test_the_published_keys_verify_a_token(any_core: Core) -> None:
    token = (await begin_session(any_core, str(uuid4())))["accessToken"]["token"]
    async with httpx.AsyncClient(base_url=any_core.uri) as client:
        answer = await client.get("/.well-known/jwks.json")
    assert "max-age" in answer.headers["cache-control"]
    keys = jwt.PyJWKSet.from_dict(answer.json())
    assert all(key["alg"] == "RS256" and "d" not in key for key in answer.json()["keys"])
    key = keys[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["RS256"])["tId"] == "public"


async def test_a_static_key_signs_when_it_is_asked_for(any_core: Core) -> None:
    answer = await begin_session(any_core, str(uuid4()), useDynamicSigningKey=False)
    assert jwt.get_unverified_header(answer["accessToken"]["token"])["kid"].startswith("s-")


async def test_a_session_is_shown_listed_changed_and_removed(any_core: Core) -> None:
    user_id = str(uuid4())
    handles = [(await begin_session(any_core, user_id))["session"]["handle"] for _ in "123"]
    listed = await any_core.call(
        "GET", "/recipe/session/user", userId=user_id, fetchAcrossAllTenants="true"
    )
    assert sorted(listed["sessionHandles"]) == sorted(handles)
    kept = await any_core.call(
        "PUT", "/recipe/session/data", sessionHandle=handles[0], userDataInDatabase={"kept": 1}
    )
    assert kept == {"status": "OK"}
    said = await any_core.call(
        "PUT", "/recipe/jwt/data", sessionHandle=handles[0], userDataInJWT={"said": 1}
    )
    assert said == {"status": "OK"}
    shown = await any_core.call("GET", "/recipe/session", sessionHandle=handles[0])
    assert (shown["userDataInDatabase"], shown["userDataInJWT"]) == ({"kept": 1}, {"said": 1})
    assert (shown["userId"], shown["recipeUserId"], shown["tenantId"]) == (
        user_id,
        user_id,
        "public",
    )
    assert shown["expiry"] > shown["timeCreated"]
    removed = await any_core.call("POST", "/recipe/session/remove", sessionHandles=handles[:1])
    assert removed == {"status": "OK", "sessionHandlesRevoked": handles[:1]}
    rest = await any_core.call(
        "POST", "/recipe/session/remove", userId=user_id, revokeAcrossAllTenants=True
    )
    assert sorted(rest["sessionHandlesRevoked"]) == sorted(handles[1:])
    for path in ("data", "jwt"):
        gone = await any_core.call(
            "PUT",
            "/recipe/session/data" if path == "data" else "/recipe/jwt/data",
            sessionHandle=handles[0],
            userDataInDatabase={},
            userDataInJWT={},
        )
        assert gone["status"] == "UNAUTHORISED"


async def test_regenerating_changes_the_claims_and_keeps_the_expiry(any_core: Core) -> None:
    answer = await begin_session(any_core, str(uuid4()))
    token = answer["accessToken"]
    new = await any_core.call(
        "POST", "/recipe/session/regenerate", accessToken=token["token"], userDataInJWT={"said": 2}
    )
    assert new["accessToken"]["expiry"] == token["expiry"]
    claims = jwt.decode(new["accessToken"]["token"], options={"verify_signature": False})
    assert claims["said"] == 2
    assert new["session"]["userDataInJWT"] == {"said": 2}


@pytest.mark.parametrize("name", ["sub", "exp", "sessionHandle", "refreshTokenHash1", "tId", "stt"])
async def test_what_a_token_says_of_its_session_cannot_be_overwritten(
    any_core: Core, name: str
) -> None:
    answer = await any_core.send(
        "POST",
        "/public/recipe/session",
        userId="someone",
        userDataInJWT={name: "mine"},
        userDataInDatabase={},
        useDynamicSigningKey=True,
        enableAntiCsrf=False,
    )
    assert (answer.status_code, answer.text.strip()) == (
        400,
        "The user payload contains protected field",
    )


@pytest.mark.parametrize("key", ["", "wrong", "0" * 64])
async def test_a_wrong_key_is_refused(any_core: Core, key: str) -> None:
    stranger = Core(any_core.uri, key)
    for method, path in (("GET", "/apiversion"), ("POST", "/public/recipe/signin")):
        answer = await stranger.send(method, path, email="a@b.example", password="x")
        assert (answer.status_code, answer.text.strip()) == (401, "Invalid API key")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"null", b'"x"', b"\xff"])
async def test_a_body_that_is_no_object_is_refused(any_core: Core, body: bytes) -> None:
    headers = {"api-key": any_core.api_key, "cdi-version": "5.4"}
    async with httpx.AsyncClient(base_url=any_core.uri) as client:
        answer = await client.post("/public/recipe/signin", content=body, headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("email", [None, 5, True, [], {}])
async def test_a_field_of_another_type_is_named(any_core: Core, email: object) -> None:
    answer = await any_core.send("POST", "/public/recipe/signin", email=email, password="x")
    assert answer.status_code == 400
    assert answer.text.strip() == "Field name 'email' is invalid in JSON input"


async def test_a_missing_parameter_is_named(any_core: Core) -> None:
    answer = await any_core.send("GET", "/user/id")
    assert answer.status_code == 400
    assert answer.text.strip() == "Field name 'userId' is missing in GET request"


async def test_another_version_is_refused(any_core: Core) -> None:
    headers = {"api-key": any_core.api_key, "cdi-version": "9.9"}
    async with httpx.AsyncClient(base_url=any_core.uri) as client:
        answer = await client.get("/recipe/roles", headers=headers)
    assert (answer.status_code, answer.text.strip()) == (400, "cdi-version 9.9 not supported")


async def test_an_unknown_call_is_not_found(any_core: Core) -> None:
    assert (await any_core.send("GET", "/recipe/nothing")).status_code == 404


@pytest.mark.skipif(bool(FOREIGN), reason="the real core answers these with 500")
@pytest.mark.parametrize("text", ["a\x00b@c.example", "\ud800@c.example"])
async def test_text_that_postgres_cannot_hold_is_refused(core: Core, text: str) -> None:
    headers = {"api-key": core.api_key}
    body = '{"email": "%s", "password": "x"}' % "".join(f"\\u{ord(c):04x}" for c in text)  # noqa: UP031
    async with httpx.AsyncClient(base_url=core.uri) as client:
        answer = await client.post("/public/recipe/signin", content=body, headers=headers)
    assert answer.status_code == 400
    metadata = {"metadataUpdate": {"a": "\x00"}, "userId": "x"}
    answer = await core.send("PUT", "/recipe/user/metadata", **metadata)
    assert answer.status_code == 400
