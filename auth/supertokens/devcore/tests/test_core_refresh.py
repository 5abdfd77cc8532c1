"""How refresh tokens rotate: several at once, promotion, siblings, theft, revocation."""

import asyncio
import base64
import os
from typing import Any
from uuid import uuid4

import pytest
from fixtures_core import Core, begin_session

Pair = tuple[str, str]


@pytest.fixture
def any_core(request: pytest.FixtureRequest) -> Core:
    """The core under test: SUPERTOKENS_URI, else the development core."""
    if foreign := os.environ.get("SUPERTOKENS_URI"):
        return Core(foreign.rstrip("/"), os.environ.get("CORE_API_KEY", ""))
    core: Core = request.getfixturevalue("core")
    return core


async def begin(core: Core) -> Pair:
    return pair_of(await begin_session(core, str(uuid4())))


def pair_of(answer: dict[str, Any]) -> Pair:
    assert answer["status"] == "OK", answer
    return answer["accessToken"]["token"], answer["refreshToken"]["token"]


async def refresh(core: Core, token: str) -> dict[str, Any]:
    return await core.call(
        "POST",
        "/recipe/session/refresh",
        refreshToken=token,
        enableAntiCsrf=False,
        useDynamicSigningKey=True,
    )


async def verify(core: Core, token: str, *, check_database: bool = False) -> dict[str, Any]:
    return await core.call(
        "POST",
        "/recipe/session/verify",
        accessToken=token,
        doAntiCsrfCheck=False,
        enableAntiCsrf=False,
        checkDatabase=check_database,
    )


async def test_a_fresh_session_verifies_without_a_new_token(any_core: Core) -> None:
    access, _ = await begin(any_core)
    answer = await verify(any_core, access)
    assert answer["status"] == "OK"
    assert "accessToken" not in answer


async def test_refreshing_gives_new_tokens_of_the_same_session(any_core: Core) -> None:
    first = await begin_session(any_core, str(uuid4()))
    second = await refresh(any_core, first["refreshToken"]["token"])
    assert second["session"] == first["session"]
    assert set(pair_of(second)).isdisjoint(pair_of(first))


async def test_many_refresh_at_once_with_one_token(any_core: Core) -> None:
    _, token = await begin(any_core)
    answers = await asyncio.gather(*(refresh(any_core, token) for _ in range(8)))
    pairs = [pair_of(answer) for answer in answers]
    assert len({refresh_token for _, refresh_token in pairs}) == 8
    for access, _ in pairs:
        assert (await verify(any_core, access))["status"] == "OK"


async def test_the_first_use_of_a_refreshed_token_promotes_it(any_core: Core) -> None:
    _, old = await begin(any_core)
    access, new = pair_of(await refresh(any_core, old))
    promoted = await verify(any_core, access)
    replacement = promoted["accessToken"]["token"]
    assert replacement != access
    assert "accessToken" not in await verify(any_core, replacement)
    # The same use again, as when the answer was lost, gives a replacement again.
    assert "accessToken" in await verify(any_core, access)
    assert (await refresh(any_core, new))["status"] == "OK"


async def test_the_old_token_may_be_repeated_until_its_child_is_used(any_core: Core) -> None:
    _, old = await begin(any_core)
    pair_of(await refresh(any_core, old))
    access, _ = pair_of(await refresh(any_core, old))
    await verify(any_core, access)
    assert (await refresh(any_core, old))["status"] == "TOKEN_THEFT_DETECTED"


async def test_refreshing_with_a_child_promotes_it_too(any_core: Core) -> None:
    _, first = await begin(any_core)
    _, second = pair_of(await refresh(any_core, first))
    _, third = pair_of(await refresh(any_core, second))
    assert (await refresh(any_core, first))["status"] == "TOKEN_THEFT_DETECTED"
    assert (await refresh(any_core, third))["status"] == "OK"


async def test_a_siblings_access_token_works_and_its_refresh_token_is_theft(any_core: Core) -> None:
    _, old = await begin(any_core)
    used, _ = pair_of(await refresh(any_core, old))
    sibling, sibling_refresh = pair_of(await refresh(any_core, old))
    assert "accessToken" in await verify(any_core, used)
    answer = await verify(any_core, sibling)
    assert answer["status"] == "OK"
    assert "accessToken" not in answer
    theft = await refresh(any_core, sibling_refresh)
    assert theft["status"] == "TOKEN_THEFT_DETECTED"
    assert set(theft["session"]) == {"handle", "userId", "recipeUserId"}


async def test_of_two_that_race_with_a_stale_child_one_wins(any_core: Core) -> None:
    _, old = await begin(any_core)
    children = [pair_of(await refresh(any_core, old))[1] for _ in "123"]
    answers = await asyncio.gather(*(refresh(any_core, child) for child in children))
    statuses = sorted(answer["status"] for answer in answers)
    assert statuses == ["OK", "TOKEN_THEFT_DETECTED", "TOKEN_THEFT_DETECTED"]


async def test_a_removed_session_neither_refreshes_nor_passes_a_database_check(
    any_core: Core,
) -> None:
    answer = await begin_session(any_core, str(uuid4()))
    access, token = pair_of(answer)
    child, _ = pair_of(await refresh(any_core, token))
    handle = answer["session"]["handle"]
    await any_core.call("POST", "/recipe/session/remove", sessionHandles=[handle])
    assert (await refresh(any_core, token))["status"] == "UNAUTHORISED"
    assert (await verify(any_core, access, check_database=True))["status"] == "UNAUTHORISED"
    assert (await verify(any_core, child))["status"] == "UNAUTHORISED"
    # Without a look at the database the token speaks for itself until it expires.
    assert (await verify(any_core, access))["status"] == "OK"


async def test_a_database_check_brings_changed_claims(any_core: Core) -> None:
    answer = await begin_session(any_core, str(uuid4()))
    access, _ = pair_of(answer)
    handle = answer["session"]["handle"]
    await any_core.call(
        "PUT", "/recipe/jwt/data", sessionHandle=handle, userDataInJWT={"said": "new"}
    )
    checked = await verify(any_core, access, check_database=True)
    assert checked["session"]["userDataInJWT"] == {"said": "new"}
    assert "accessToken" in checked


async def test_a_refresh_keeps_the_claims(any_core: Core) -> None:
    answer = await begin_session(any_core, str(uuid4()), userDataInJWT={"said": [1, {"a": None}]})
    refreshed = await refresh(any_core, pair_of(answer)[1])
    assert refreshed["session"]["userDataInJWT"] == {"said": [1, {"a": None}]}


@pytest.mark.parametrize("token", ["", "x", "a.b.V2", "..", "é.é.V2", "AAAA." + "00" * 12 + ".V2"])
async def test_a_token_we_did_not_make_does_not_refresh(any_core: Core, token: str) -> None:
    assert (await refresh(any_core, token))["status"] == "UNAUTHORISED"


async def test_an_access_token_does_not_refresh(any_core: Core) -> None:
    access, _ = await begin(any_core)
    assert (await refresh(any_core, access))["status"] == "UNAUTHORISED"


async def test_a_refresh_token_that_was_touched_does_not_refresh(any_core: Core) -> None:
    _, token = await begin(any_core)
    sealed, nonce, version = token.split(".")
    plain = bytearray(base64.b64decode(sealed))
    plain[3] ^= 1
    touched = f"{base64.b64encode(bytes(plain)).decode()}.{nonce}.{version}"
    assert (await refresh(any_core, touched))["status"] == "UNAUTHORISED"
    assert (await refresh(any_core, token))["status"] == "OK"


async def test_a_token_that_was_touched_asks_for_a_refresh(any_core: Core) -> None:
    access, _ = await begin(any_core)
    header, claims, signature = access.split(".")
    for touched in (f"{header}.{claims}.{signature[:-4]}AAAA", f"{header}.{claims}."):
        assert (await verify(any_core, touched))["status"] == "TRY_REFRESH_TOKEN"
