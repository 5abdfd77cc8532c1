"""What the tests of identity share: a small application behind the gate, and a browser."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import httpx
from fastapi import Depends, FastAPI
from fixtures_core import PUBLIC_URL, Core, SignedIn
from fixtures_postgres import Database as Postgres

from app.auth import supertokens_middleware
from app.core.problems import install_problem_handlers
from app.core.security import Actor, current_actor
from app.core.settings import Settings, load_settings
from app.services.db import Database, create_engine

OUR_PAGES = {"rid": "anti-csrf", "Origin": PUBLIC_URL}


def settings_for(database: Postgres, core: Core, **changes: Any) -> Settings:
    return load_settings(
        **{
            "app_env": "test",
            "public_url": PUBLIC_URL,
            "secrets_dir": database.cluster.secrets_dir,
            "database_host": database.host,
            "database_port": database.port_for("app_write"),
            "database_name": database.name,
            "supertokens_uri": core.uri,
            "signin_limit_per_minute": 1000,
            **changes,
        }
    )


@asynccontextmanager
async def small_app(settings: Settings) -> AsyncIterator[FastAPI]:
    """An application with two routes behind the identity gate, started."""
    app = FastAPI()
    app.state.database = Database(create_engine(settings, "app_write"))
    install_problem_handlers(app)
    supertokens_middleware.install(app, settings)

    async def who(actor: Annotated[Actor, Depends(current_actor)]) -> dict[str, str]:
        # Gives the loop to other requests in between, where a shared context would show.
        await asyncio.sleep(0)
        return {"user_id": str(actor.user_id), "session_handle": actor.session_handle}

    app.get("/api/who")(who)
    app.post("/api/who")(who)
    app.post("/api/webhooks/x")(lambda: {"open": True})
    async with app.router.lifespan_context(app):
        yield app
    await app.state.database.close()


def browser(app: FastAPI, user: SignedIn | None = None, **more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, **more),
        base_url=PUBLIC_URL,
        headers=OUR_PAGES,
        cookies={"sAccessToken": user.access_token} if user else None,
    )


def form(email: str, password: str) -> dict[str, Any]:
    return {"formFields": [{"id": "email", "value": email}, {"id": "password", "value": password}]}


async def enter(client: httpx.AsyncClient, user: SignedIn) -> httpx.Response:
    answer = await client.post("/auth/signin", json=form(user.email, user.password))
    assert (answer.status_code, answer.json()["status"]) == (200, "OK"), answer.text
    return answer


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def revoked(database: Postgres, handle: str) -> bool:
    connection = await database.connect("postgres")
    query = "SELECT FROM security.revoked_sessions WHERE session_handle = $1"
    return await connection.fetchrow(query, handle) is not None


async def actions(database: Postgres) -> list[tuple[str, str]]:
    """Return actor and action of the system's audit rows."""
    connection = await database.connect("postgres")
    rows = await connection.fetch(
        "SELECT actor, action FROM audit.audit_log WHERE stream_id = 0 ORDER BY seq"
    )
    return [(row["actor"], row["action"]) for row in rows]


async def row_of(database: Postgres, user_id: UUID) -> tuple[str, bool]:
    connection = await database.connect("postgres")
    row = await connection.fetchrow(
        "SELECT role, disabled FROM app.users WHERE user_id = $1", user_id
    )
    return row["role"], row["disabled"]
