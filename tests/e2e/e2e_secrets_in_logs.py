"""No log of the whole platform holds a secret, after everything that has one was used."""

import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
from compose_client import ComposePlatform
from platform_client import Platform, Trader

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]

# Shorter values would be found by chance.
CANARY_LENGTH_MIN = 12


def spellings(value: str) -> set[str]:
    """A value as a log may have written it."""
    return {value, quote(value, safe=""), unquote(value), json.dumps(value)[1:-1]}


def leaks(folder: Path, canaries: dict[str, str]) -> Iterator[str]:
    """Name the canaries that a log holds, and which log; never the value."""
    for path in sorted(it for it in folder.rglob("*") if it.is_file()):
        text = path.read_text(errors="replace")
        for name, value in canaries.items():
            if any(it in text for it in spellings(value)):
                yield f"{path.name}: {name}"


def logs(platform: Platform, folder: Path) -> Path:
    """Return where the logs are; those of containers are fetched from their engine."""
    if not isinstance(platform, ComposePlatform):
        return platform.run_dir / "logs"
    for service in platform.status()["services"]:
        container = platform.container(service)["Id"]
        with (folder / f"{service}.log").open("wb") as file:
            fetch = ["docker", "logs", container]
            subprocess.run(fetch, check=True, stdout=file, stderr=subprocess.STDOUT, timeout=60)
    return folder


def secrets_of(platform: Platform) -> dict[str, str]:
    """Every secret of the installation, and the passwords of its people."""
    found = {
        path.name: path.read_text().strip() for path in (platform.run_dir / "secrets").iterdir()
    }
    for user in platform.demo["users"]:
        found[f"password of {user['email']}"] = user["password"]
    return found


async def used(platform: Platform) -> dict[str, str]:
    """Sign in, read, trade, fail and sign out; return the values that only this session knew."""
    canaries: dict[str, str] = {}
    async with Trader(platform, "trader") as trader:
        wrong = f"wrong-canary-{uuid.uuid4().hex}"
        await trader.sign_in(wrong)
        canaries["a wrong password"] = wrong
        for cookie in trader.client.cookies.jar:
            canaries[f"cookie {cookie.name}"] = str(cookie.value)
        token = (await trader.client.post("/api/session/db-token")).json()["token"]
        canaries["db token"] = token
        canaries["signature of the db token"] = token.rsplit(".", 1)[1]
        placed = await trader.place(f"canary-{uuid.uuid4().hex[:20]}")
        assert placed.status_code == httpx.codes.CREATED
        await trader.client.get("/")
        # What goes wrong is where logs become talkative.
        secret = f"canary-{uuid.uuid4().hex}"
        canaries["a bearer token"] = secret
        headers = {"Authorization": f"Bearer {secret}", "X-Proxy-Secret": secret}
        await trader.client.get("/api/session", headers=headers)
        await trader.client.post("/api/orders", content=b"{" + secret.encode(), headers=headers)
        await trader.client.post(
            "/api/webhooks/quantconnect", content=b"{}", headers={"X-Bridge-Signature": secret}
        )
        await trader.client.post("/auth/session/refresh", headers={"Cookie": f"st={secret}"})
        await trader.client.post("/auth/signout")
    return {name: it for name, it in canaries.items() if len(it) >= CANARY_LENGTH_MIN}


async def test_no_log_holds_a_secret(platform: Platform, tmp_path: Path) -> None:
    canaries = {**secrets_of(platform), **await used(platform)}
    named = set(canaries)
    assert {"db_token_key", "webhook_hmac", "core_api_key", "anchor_key", "db token"} <= named
    assert any(re.match("cookie sAccessToken", name) for name in named)
    assert any(re.match("cookie sRefreshToken", name) for name in named)
    folder = logs(platform, tmp_path)
    assert {"api.log", "worker.log", "proxy.log", "postgres.log", "streamlit.log"} <= {
        path.name for path in folder.iterdir()
    }
    assert list(leaks(folder, canaries)) == []


def test_a_secret_in_a_log_is_found(tmp_path: Path) -> None:
    canaries = {"plain": "s3cret-canary-1", "escaped": 'canary"2/+=x', "absent": "nowhere-canary"}
    (tmp_path / "api.log").write_text('{"url": "/?t=canary%222%2F%2B%3Dx"}\n')
    (tmp_path / "old").mkdir()
    (tmp_path / "old/worker.log.1").write_bytes(b"\xff token=s3cret-canary-1\n")
    assert list(leaks(tmp_path, canaries)) == ["api.log: escaped", "worker.log.1: plain"]
