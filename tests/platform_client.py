"""Starts a whole platform of its own, and speaks to it as a trader's program would."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import asyncpg
import httpx
from free_ports import free_port

ROOT = Path(__file__).resolve().parents[1]
PORTS_PER_PLATFORM = 9

Seen = TypeVar("Seen")


@dataclass
class Platform:
    """One installation in a folder and a port range of its own."""

    run_dir: Path
    port_base: int = field(default_factory=lambda: free_port(PORTS_PER_PLATFORM))
    env: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port_base}"

    @property
    def venue_url(self) -> str:
        return f"http://127.0.0.1:{self.port_base + 7}/paper/v1"

    @property
    def demo(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.run_dir / "demo.json").read_text())
        return loaded

    def native(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call the native runner as the Makefile does."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "ops"),
            "RUN_DIR": str(self.run_dir),
            "PORT_BASE": str(self.port_base),
            **self.env,
        }
        return subprocess.run(
            [sys.executable, "-m", "native", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )

    def start(self) -> Self:
        done = self.native("up")
        if done.returncode != 0:
            self.stop()
            raise RuntimeError(f"the platform did not start:\n{done.stdout[-6000:]}")
        return self

    def stop(self) -> None:
        self.native("down")

    def status(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.native("status", "--json").stdout)
        return loaded

    def recorded(self) -> dict[str, Any]:
        """What the supervisor last wrote down, without asking anything."""
        loaded: dict[str, Any] = json.loads((self.run_dir / "state.json").read_text())
        return loaded

    async def database(self) -> asyncpg.Connection:
        """A superuser's connection, for looking behind every curtain."""
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self.port_base + 4,
            user="postgres",
            database="informania",
            password=(self.run_dir / "secrets" / "postgres_password").read_text().strip(),
            timeout=5,
        )

    async def venue_orders(self) -> list[dict[str, Any]]:
        """Every order the venue has ever accepted, doubles and all."""
        return await self.at_venue("orders")

    async def venue_accounts(self) -> list[dict[str, Any]]:
        """Cash and positions as the venue has them."""
        return await self.at_venue("accounts")

    async def at_venue(self, what: str) -> list[dict[str, Any]]:
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.get(f"{self.venue_url}/{what}")
            answer.raise_for_status()
            rows: list[dict[str, Any]] = answer.json()
            return rows


class Trader:
    """A signed-in program at the public door."""

    def __init__(self, platform: Platform, role: str) -> None:
        self.platform = platform
        self.user = next(user for user in platform.demo["users"] if user["role"] == role)
        self.client = httpx.AsyncClient(
            base_url=platform.url,
            timeout=10,
            headers={"Origin": platform.url, "rid": "anti-csrf"},
        )

    async def __aenter__(self) -> Self:
        answer = await self.sign_in(self.user["password"])
        if answer.status_code != httpx.codes.OK or answer.json()["status"] != "OK":
            raise RuntimeError(f"sign-in failed: {answer.status_code} {answer.text}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def sign_in(self, password: str) -> httpx.Response:
        fields = [
            {"id": "email", "value": self.user["email"]},
            {"id": "password", "value": password},
        ]
        return await self.client.post("/auth/signin", json={"formFields": fields})

    async def place(self, client_order_id: str, **changes: Any) -> httpx.Response:
        order = {
            "account_id": self.user["accounts"][0],
            "symbol": "AAPL",
            "side": "buy",
            "order_type": "market",
            "quantity": "10",
            "time_in_force": "day",
        }
        return await self.client.post(
            "/api/orders",
            json={**order, **changes},
            headers={"Idempotency-Key": client_order_id},
        )

    async def order(self, client_order_id: str) -> httpx.Response:
        return await self.client.get(f"/api/orders/{client_order_id}")

    async def settled(self, client_order_id: str, *statuses: str) -> dict[str, Any]:
        """The order as the API tells it, once it has one of the given statuses."""

        async def look() -> dict[str, Any]:
            answer = await self.order(client_order_id)
            assert answer.status_code == httpx.codes.OK, answer.text
            order: dict[str, Any] = answer.json()
            return order

        return await eventually(look, lambda order: order["status"] in statuses)

    async def cancel(self, order_id: str) -> httpx.Response:
        return await self.client.post(f"/api/orders/{order_id}/cancel")


async def eventually(
    look: Callable[[], Awaitable[Seen]], accept: Callable[[Seen], bool], timeout_s: float = 30
) -> Seen:
    """Look again until what is seen is accepted; fail with what was seen last."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        seen = await look()
        if accept(seen):
            return seen
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not accepted within {timeout_s} s; seen last: {seen}")
        await asyncio.sleep(0.05)
