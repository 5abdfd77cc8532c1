"""The development core as a process: what it refuses, what survives it, how its keys rotate."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import jwt
import pytest
from fixtures_core import Core, begin_session, eventually, running_core
from fixtures_postgres import Database

ENVIRONMENT = {"APP_ENV": "test", "CORE_PASSWORD": "x" * 32, "CORE_API_KEY": "y" * 32}
EVERYWHERE = ["0.0.0.0", "::"]  # noqa: S104 - to be refused


def refusal(**environment: str) -> str:
    """Start it where it should not start, and return what it says."""
    process = subprocess.run(
        [sys.executable, "-m", "devcore"],
        env=os.environ | ENVIRONMENT | {"DATABASE_PORT": "1", "DEVCORE_WAIT_S": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode != 0
    return process.stderr


@pytest.mark.parametrize("app_env", ["production", "", "prod", "DEV"])
def test_it_refuses_every_environment_but_dev_and_test(app_env: str) -> None:
    assert "supertokens/supertokens-postgresql" in refusal(APP_ENV=app_env)


@pytest.mark.parametrize("host", [*EVERYWHERE, "8.8.8.8", "10.0.0.1"])
def test_it_refuses_addresses_that_others_can_reach(host: str) -> None:
    assert "no loopback address" in refusal(DEVCORE_HOST=host)


@pytest.mark.parametrize("host", [*EVERYWHERE, "8.8.8.8"])
def test_private_is_not_public(host: str) -> None:
    assert "no loopback address" in refusal(DEVCORE_HOST=host, DEVCORE_ALLOW_PRIVATE="1")


@pytest.mark.parametrize("key", ["short", "changeme", "change-me", "changethis"])
def test_it_refuses_a_weak_key_and_a_placeholder(key: str) -> None:
    assert "core_api_key" in refusal(CORE_API_KEY=key, SECRETS_DIR="/nonexistent")


def test_it_waits_for_the_database_and_says_so() -> None:
    said = refusal()
    assert "waiting for the database at 127.0.0.1:1/informania" in said
    assert "no database at 127.0.0.1:1/informania" in said


async def test_it_says_what_it_is(core: Core) -> None:
    async with httpx.AsyncClient(base_url=core.uri) as client:
        assert "devcore" in (await client.get("/hello")).text


async def test_users_sessions_and_keys_survive_a_restart(
    database: Database, tmp_path: Path
) -> None:
    log = tmp_path / "core.log"
    email = f"{uuid4().hex}@test.informania.dev"
    with running_core(database, log) as core:
        await core.call("POST", "/public/recipe/signup", email=email, password="correct 123")
        session = await begin_session(core, str(uuid4()))
    assert "ONLY" in log.read_text()
    with running_core(database, log) as core:
        signed_in = await core.call(
            "POST", "/public/recipe/signin", email=email, password="correct 123"
        )
        assert signed_in["status"] == "OK"
        verified = await core.call(
            "POST",
            "/recipe/session/verify",
            accessToken=session["accessToken"]["token"],
            checkDatabase=True,
        )
        assert verified["status"] == "OK"
        refreshed = await core.call(
            "POST", "/recipe/session/refresh", refreshToken=session["refreshToken"]["token"]
        )
        assert refreshed["status"] == "OK"


async def test_without_its_database_it_asks_for_patience_and_does_not_fall(
    database: Database, tmp_path: Path
) -> None:
    log = tmp_path / "core.log"
    with running_core(database, log) as core:
        connection = await database.connect("postgres")
        await connection.execute(
            "UPDATE pg_database SET datallowconn = FALSE WHERE datname = current_database()"
        )
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'core'"
        )
        async with httpx.AsyncClient(base_url=core.uri) as client:
            answer = await client.get("/hello")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.headers["Retry-After"]
    assert "Exception in ASGI application" not in log.read_text()


async def test_another_api_key_cannot_open_the_signing_keys(
    database: Database, tmp_path: Path
) -> None:
    with running_core(database, tmp_path / "core.log"):
        pass
    connection = await database.connect("postgres")
    sealed = await connection.fetchval("SELECT sealed FROM auth_dev.signing_keys LIMIT 1")
    assert b"RSA" not in sealed
    with (
        pytest.raises(RuntimeError, match="sealed with another core_api_key"),
        running_core(database, tmp_path / "other.log", CORE_API_KEY="z" * 64),
    ):
        pass


async def test_an_expired_token_asks_for_a_refresh_and_an_expired_session_for_a_sign_in(
    database: Database, tmp_path: Path
) -> None:
    lifetimes = {"DEVCORE_ACCESS_VALIDITY_MS": "1000", "DEVCORE_REFRESH_VALIDITY_MS": "3000"}
    with running_core(database, tmp_path / "core.log", **lifetimes) as core:
        session = await begin_session(core, str(uuid4()))
        access, refresh = session["accessToken"]["token"], session["refreshToken"]["token"]

        async def expired() -> bool:
            answer = await core.call("POST", "/recipe/session/verify", accessToken=access)
            return bool(answer["status"] == "TRY_REFRESH_TOKEN")

        async def over() -> bool:
            answer = await core.call("POST", "/recipe/session/refresh", refreshToken=refresh)
            return bool(answer["status"] == "UNAUTHORISED")

        await eventually(expired)
        assert not await over()
        await eventually(over)


async def test_keys_rotate_and_tokens_of_the_old_one_stay_valid(
    database: Database, tmp_path: Path
) -> None:
    log = tmp_path / "core.log"
    with running_core(database, log, DEVCORE_KEY_LIFETIME_MS="1500") as core:
        first = await begin_session(core, str(uuid4()))
        old_key = jwt.get_unverified_header(first["accessToken"]["token"])["kid"]

        async def rotated() -> bool:
            session = await begin_session(core, str(uuid4()))
            return bool(
                jwt.get_unverified_header(session["accessToken"]["token"])["kid"] != old_key
            )

        await eventually(rotated)
        answer = await core.call(
            "POST", "/recipe/session/verify", accessToken=first["accessToken"]["token"]
        )
        assert answer["status"] == "OK"
        async with httpx.AsyncClient(base_url=core.uri) as client:
            keys = (await client.get("/.well-known/jwks.json")).json()["keys"]
        assert old_key in {key["kid"] for key in keys}


async def test_two_cores_on_one_database_agree_on_the_keys(
    database: Database, tmp_path: Path
) -> None:
    with (
        running_core(database, tmp_path / "one.log") as one,
        running_core(database, tmp_path / "two.log") as two,
    ):
        session = await begin_session(one, str(uuid4()))
        token = session["accessToken"]["token"]
        assert (await two.call("POST", "/recipe/session/verify", accessToken=token))[
            "status"
        ] == "OK"


async def test_more_passwords_than_it_can_hash_are_put_off_not_queued(core: Core) -> None:
    async with httpx.AsyncClient(
        base_url=core.uri, headers={"api-key": core.api_key}, timeout=60
    ) as client:
        body = {"email": "nobody@test.informania.dev", "password": "x"}
        answers = await asyncio.gather(
            *(client.post("/public/recipe/signin", json=body) for _ in range(90))
        )
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 503}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
