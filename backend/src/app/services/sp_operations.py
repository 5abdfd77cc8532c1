"""Procedures of operators; side effect: Postgres."""

import asyncpg

from app.services.sp_call import refusals, value
from app.services.sp_rows import Caller


async def requeue(
    connection: asyncpg.Connection, caller: Caller, request_id: str, event_id: int
) -> str:
    """Let a row of the outbox go on now; returns what it was, pending or dead."""
    query = "SELECT app.sp_admin_requeue($1, $2, $3, $4)"
    arguments = (caller.user_id, caller.session_handle, request_id, event_id)
    return str(await value(connection, query, *arguments))


async def resolve_order(
    connection: asyncpg.Connection,
    caller: Caller,
    request_id: str,
    *,
    order_id: int,
    status: str,
    reason: str,
) -> str:
    """Record what became of a lost order; returns its state."""
    query = "SELECT app.sp_admin_resolve_order($1, $2, $3, $4, $5, $6)"
    arguments = (caller.user_id, caller.session_handle, request_id, order_id, status, reason)
    return str(await value(connection, query, *arguments))


async def resolve_break(
    connection: asyncpg.Connection, caller: Caller, request_id: str, break_id: int, reason: str
) -> None:
    """Record what an open break was."""
    async with refusals():
        await connection.execute(
            "SELECT app.sp_admin_resolve_break($1, $2, $3, $4, $5)",
            caller.user_id,
            caller.session_handle,
            request_id,
            break_id,
            reason,
        )
