"""Procedures over the audit log, for administrators and members; side effect: Postgres."""

from typing import Any

import asyncpg

from app.audits.export import order_history
from app.audits.repo import ChainReport, verify_all
from app.core.errors import AccountNotFound
from app.services.db import Database
from app.services.sp_call import row, rows
from app.services.sp_rows import Caller

# Slices that one administrator's question verifies at once; the rest of the pool is for orders.
VERIFIERS = 2
# An answer of some megabytes.
EXPORT_LINKS_MAX = 10_000


async def verify(
    database: Database, caller: Caller, account_id: int | None = None
) -> list[ChainReport]:
    """Verify one chain or all; each slice is a statement of its own, so no snapshot is held."""

    async def read(*slice_: int) -> Any:
        async with database.single_statement() as connection:
            return await row(
                connection,
                "SELECT checked, broken_seq, why, next_seq"
                " FROM app.sp_admin_audit_verify($1, $2, $3, $4, $5)",
                caller.user_id,
                caller.session_handle,
                *slice_,
            )

    async with database.single_statement() as connection:
        found = await rows(
            connection,
            "SELECT stream_id, seq FROM app.sp_admin_audit_heads($1, $2)",
            caller.user_id,
            caller.session_handle,
        )
    wanted = {it["stream_id"]: it["seq"] for it in found if account_id in (None, it["stream_id"])}
    if account_id is not None and not wanted:
        raise AccountNotFound()
    return await verify_all([read] * VERIFIERS, wanted)


async def export_order(
    connection: asyncpg.Connection, caller: Caller, order_id: int
) -> dict[str, Any]:
    """Return an order's history with its proof."""
    found = await row(
        connection,
        "SELECT account_id, previous, links, statement, signature, public_key,"
        " heads::text AS heads FROM app.sp_audit_export($1, $2, $3, $4)",
        caller.user_id,
        caller.session_handle,
        order_id,
        EXPORT_LINKS_MAX,
    )
    return order_history(order_id, found)
