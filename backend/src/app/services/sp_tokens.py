"""Procedures of service tokens; side effect: Postgres."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.models.dto_tokens import TokenCreate
from app.services.sp_call import REFUSALS, refusals, rows, value
from app.services.sp_rows import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundToken:
    """A service token as it is now; the fault says why it opens nothing."""

    token_id: int
    user_id: UUID
    scopes: list[str]
    expires_at: datetime
    fault: str | None


async def token_find(connection: asyncpg.Connection, digest: bytes) -> FoundToken | None:
    """Return whose token has this SHA-256; raises what is wrong with one that has ended."""
    query = "SELECT * FROM app.sp_service_token_find($1)"
    found = await rows(connection, query, digest)
    if not found:
        return None
    token = FoundToken(**dict(found[0]))
    if token.fault is not None:
        raise REFUSALS[token.fault]()
    return token


async def token_create(
    connection: asyncpg.Connection,
    caller: Caller,
    request_id: str,
    digest: bytes,
    wanted: TokenCreate,
) -> int:
    """Make a service token of which only the SHA-256 is kept; returns its id."""
    return int(
        await value(
            connection,
            "SELECT app.sp_admin_token_create($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            caller.user_id,
            caller.session_handle,
            request_id,
            digest,
            wanted.user_id,
            wanted.name,
            wanted.scopes,
            wanted.account_ids,
            wanted.expires_at,
        )
    )


async def token_revoke(
    connection: asyncpg.Connection, caller: Caller, request_id: str, token_id: int
) -> None:
    """End a service token; it opens nothing from the commit on."""
    async with refusals():
        await connection.execute(
            "SELECT app.sp_admin_token_revoke($1, $2, $3, $4)",
            caller.user_id,
            caller.session_handle,
            request_id,
            token_id,
        )
