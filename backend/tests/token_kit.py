"""What the tests of service tokens share: tokens, and programs that send them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from api_world import ORIGIN, Person, World, new_id

SCOPES = ("orders:read", "orders:write", "data:read", "data:write", "hot:read", "hot:write")


@dataclass
class Program:
    """A program with a token: no cookie, no Origin, no rid."""

    client: httpx.AsyncClient
    token_id: str
    token: str

    async def place(self, body: object, key: str | None = None) -> httpx.Response:
        """Send an order."""
        headers = {"Idempotency-Key": key or new_id()}
        return await self.client.post("/api/orders", json=body, headers=headers)


def program_of(world: World, token: str, token_id: str) -> Program:
    """Make a program that sends this token."""
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app),
        base_url=ORIGIN,
        headers={"Authorization": f"Bearer {token}"},
    )
    world.clients.append(client)
    return Program(client, token_id, token)


def wanted(person: Person, *scopes: str, accounts: list[int] | None = None) -> dict[str, Any]:
    """Return the body that asks for a token of a day."""
    return {
        "user_id": str(person.user_id),
        "name": "mean reversion",
        "scopes": list(scopes or SCOPES),
        "account_ids": [str(one) for one in accounts or []],
        "expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    }


async def make_program(
    world: World, admin: Person, person: Person, *scopes: str, accounts: list[int] | None = None
) -> Program:
    """Let an administrator make a token, and a program of it."""
    body = wanted(person, *scopes, accounts=accounts)
    answer = await admin.client.post("/api/admin/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return program_of(world, answer.json()["token"], answer.json()["token_id"])


async def revoke(admin: Person, program: Program) -> None:
    """Let an administrator end a token."""
    answer = await admin.client.post(f"/api/admin/tokens/{program.token_id}/revoke")
    assert answer.status_code == 204, answer.text
