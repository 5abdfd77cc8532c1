"""Signs the tokens by which a reader says whose accounts he reads; tests alone need to."""

import hmac
import time
from uuid import UUID

import asyncpg
from fixtures_postgres import Database

from app.core.token_keys import key_id_of


def sign(key: str, user_id: UUID | str, *, key_id: str | None = None, valid_s: float = 300) -> str:
    """Return a token in the form that security.token_user() reads."""
    signed = f"{key_id or key_id_of(key)}.{user_id}.{int(time.time() + valid_s)}"
    return f"{signed}.{hmac.digest(key.encode(), signed.encode(), 'sha256').hex()}"


async def read(
    database: Database, token: str | None, query: str, *arguments: object
) -> list[asyncpg.Record]:
    """Read as the UI does: in a read-only transaction that carries the token."""
    connection = await asyncpg.connect(database.dsn("app_read"), timeout=10)
    try:
        async with connection.transaction(readonly=True):
            if token is not None:
                await connection.execute("SELECT set_config('app.user_token', $1, TRUE)", token)
            rows: list[asyncpg.Record] = await connection.fetch(query, *arguments)
            return rows
    finally:
        await connection.close(timeout=5)
