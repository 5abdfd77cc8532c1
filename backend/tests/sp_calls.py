"""What tests of single procedures share: a role's connection, a refusal, what was audited."""

import asyncpg
import pytest
from fixtures_postgres import Database

ACTOR = "system:test"


@pytest.fixture
async def migrate(database: Database) -> asyncpg.Connection:
    """A connection that may write master data."""
    return await database.connect("app_migrate")


@pytest.fixture
async def write(database: Database) -> asyncpg.Connection:
    """A connection of the API."""
    return await database.connect("app_write")


async def audited(database: Database, stream_id: int) -> list[str]:
    """Return the actions on a stream, in order."""
    connection = await database.connect("postgres")
    rows = await connection.fetch(
        "SELECT action FROM audit.audit_log WHERE stream_id = $1 ORDER BY seq", stream_id
    )
    return [row["action"] for row in rows]


async def code_of(
    connection: asyncpg.Connection, query: str, *arguments: object
) -> tuple[str, str]:
    """Return SQLSTATE and machine code of the refusal of a call."""
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await connection.fetch(query, *arguments)
    return refusal.value.sqlstate, refusal.value.detail
