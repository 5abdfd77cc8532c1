"""What the tests of the API share: the application in this process, on a database of its own."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from fixtures_core import Core, SignedIn, make_signed_in
from fixtures_postgres import Database, make_account, make_instrument, set_price

from app.core.settings import Settings, load_settings
from app.main import create_app

ORIGIN = "http://localhost:8080"
FROM_OUR_PAGES = {"rid": "anti-csrf", "Origin": ORIGIN}
LIBRARY = Path(__file__).parents[1] / "zig-lmdb" / "target" / "libzig_lmdb.so"

needs_hot_store = pytest.mark.skipif(
    not LIBRARY.exists(), reason=f"{LIBRARY} is not built: run scripts/build_zig_lmdb.sh"
)


def order(account_id: int, **changes: Any) -> dict[str, Any]:
    """Return the body of a small order that passes every risk rule."""
    body = {
        "account_id": str(account_id),
        "symbol": "AAPL",
        "side": "buy",
        "order_type": "limit",
        "quantity": "10",
        "limit_price": "20",
        "time_in_force": "day",
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not ...}


def new_id() -> str:
    """Mint a client order id."""
    return uuid4().hex


OpenApi = Callable[..., AbstractAsyncContextManager["World"]]
MakePerson = Callable[[str], Awaitable["Person"]]


@dataclass
class Person:
    """A signed-in user with a browser of his own."""

    client: httpx.AsyncClient
    user_id: UUID
    email: str
    session: SignedIn

    async def place(self, body: object, key: str | None = None) -> httpx.Response:
        """Send an order."""
        headers = {"Idempotency-Key": key or new_id()}
        return await self.client.post("/api/orders", json=body, headers=headers)


@dataclass
class World:
    """An application and its database."""

    app: FastAPI
    settings: Settings
    database: Database
    core: Core
    migrate: asyncpg.Connection
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self) -> httpx.AsyncClient:
        """Make a browser that nobody has signed in with."""
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url=ORIGIN, headers=FROM_OUR_PAGES
        )
        self.clients.append(client)
        return client

    async def account(self, *members: Person, can_trade: bool = True, **more: Any) -> int:
        """Make an account of these members, with limits, cash and a price of AAPL."""
        await make_instrument(self.migrate, "AAPL")
        await set_price(self.migrate, "AAPL", "20")
        return await make_account(
            self.migrate, {member.user_id: can_trade for member in members}, **more
        )

    async def rows(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Read tables as a superuser."""
        connection = await self.database.connect("postgres")
        found: list[asyncpg.Record] = await connection.fetch(query, *arguments)
        return found

    def secret(self, name: str) -> str:
        """Read a secret of this installation."""
        return (self.database.cluster.secrets_dir / name).read_text().strip()

    def signature(self, body: bytes) -> str:
        """Sign a body as a bridge does."""
        key = self.secret("webhook_hmac").encode()
        return hmac.new(key, body, hashlib.sha256).hexdigest()

    async def report(
        self,
        batch: dict[str, Any] | bytes,
        *,
        signature: str | None = None,
        source: str = "qc:1001",
    ) -> httpx.Response:
        """Post a delivery of a bridge, signed unless another signature is given."""
        body = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
        signed = self.signature(body) if signature is None else signature
        headers = {
            b"Content-Type": b"application/json",
            b"X-Bridge-Signature": signed.encode(),
            b"X-Bridge-Source": source.encode(),
        }
        client = self.client()
        del client.headers["rid"], client.headers["Origin"]
        return await client.post("/api/webhooks/quantconnect", content=body, headers=headers)


def now_text() -> str:
    """Return this moment as bridges write it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[None]:
    """Start and stop an application as its server would."""
    async with app.router.lifespan_context(app):
        yield


@asynccontextmanager
async def open_world(database: Database, core: Core, **settings: Any) -> AsyncIterator[World]:
    """Run the application of a database."""
    built = load_settings(
        **{
            "app_env": "test",
            "public_url": ORIGIN,
            "secrets_dir": database.cluster.secrets_dir,
            "database_host": database.host,
            "database_port": database.port_for("app_write"),
            "database_name": database.name,
            "supertokens_uri": core.uri,
            "signin_limit_per_minute": 10_000,
            "log_level": "info",
            **settings,
        }
    )
    app = create_app(built)
    async with running(app):
        world = World(app, built, database, core, await database.connect("app_migrate"))
        try:
            yield world
        finally:
            for client in world.clients:
                await client.aclose()


def code(answer: httpx.Response) -> str:
    """Return the code of a problem; anything else fails the test."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["type"] == f"urn:informania:problem:{body['code']}"
    assert body["title"]
    return str(body["code"])


async def make_person(world: World, role: str) -> Person:
    """Make a user of this database with a role, with a session of the real core."""
    signed_in = await make_signed_in(world.core, world.database, role)
    client = world.client()
    # As the browser keeps them: a cookie jar calls localhost by this name.
    jar = {"sAccessToken": "/", "sRefreshToken": "/auth/session/refresh"}
    for name, path in jar.items():
        client.cookies.set(name, signed_in.cookies[name], domain="localhost.local", path=path)
    return Person(client, signed_in.user_id, signed_in.email, signed_in)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds, or fail after five seconds."""
    async with asyncio.timeout(5):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)
