"""One typed function per procedure that app_write may call; side effect: Postgres.

Batches and changes of orders are in `sp_orders`, master data in `sp_admin`.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

import asyncpg

from app.services.sp_call import row, rows, value
from app.services.sp_rows import (
    Caller,
    LastPrice,
    LiveSession,
    NewOrder,
    OrderPreview,
    OrderResult,
    SessionKey,
    SessionUser,
)

# Named one by one, so that a procedure may return more to a newer release.
ORDER_COLUMNS = ", ".join(field.name for field in fields(OrderResult))
ORDER_FROM = f"SELECT {ORDER_COLUMNS} FROM "  # noqa: S608 - nothing in it comes from outside
PREVIEW_COLUMNS = ", ".join(field.name for field in fields(OrderPreview))
PREVIEW_FROM = f"SELECT {PREVIEW_COLUMNS} FROM "  # noqa: S608 - nothing in it comes from outside


async def place_order(
    connection: asyncpg.Connection, caller: Caller, request_id: str, order: NewOrder
) -> OrderResult:
    """Record the order once; the caller's transaction decides when it counts."""
    found = await row(
        connection,
        ORDER_FROM + "app.sp_place_order"
        "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        caller.user_id,
        caller.session_handle,
        request_id,
        order.client_order_id,
        order.account_id,
        order.symbol,
        order.side,
        order.order_type,
        order.quantity,
        order.limit_price,
        order.stop_price,
        order.time_in_force,
        order.expires_at,
        order.strategy_id,
    )
    return OrderResult(**dict(found))


async def preview_order(
    connection: asyncpg.Connection, caller: Caller, order: NewOrder
) -> OrderPreview:
    """Ask what placing the order would do now; writes nothing."""
    found = await row(
        connection,
        PREVIEW_FROM + "app.sp_preview_order($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        caller.user_id,
        caller.session_handle,
        order.account_id,
        order.symbol,
        order.side,
        order.order_type,
        order.quantity,
        order.limit_price,
        order.stop_price,
        order.time_in_force,
        order.expires_at,
        order.strategy_id,
    )
    return OrderPreview(**dict(found))


async def cancel_order(
    connection: asyncpg.Connection, caller: Caller, request_id: str, *, key: str, order_id: int
) -> OrderResult:
    """Ask for the order's cancellation once."""
    found = await row(
        connection,
        ORDER_FROM + "app.sp_cancel_order($1, $2, $3, $4, $5)",
        caller.user_id,
        caller.session_handle,
        request_id,
        key,
        order_id,
    )
    return OrderResult(**dict(found))


async def order_status(
    connection: asyncpg.Connection, caller: Caller, client_order_id: str
) -> OrderResult:
    """Read one order in its current state."""
    found = await row(
        connection,
        ORDER_FROM + "app.sp_order_status($1, $2, $3)",
        caller.user_id,
        caller.session_handle,
        client_order_id,
    )
    return OrderResult(**dict(found))


async def trading_state_set(
    connection: asyncpg.Connection,
    caller: Caller,
    request_id: str,
    *,
    scope: str,
    scope_id: int,
    state: str,
    reason: str,
    cancel_open: bool = False,
) -> str:
    """Halt, reduce or resume trading, and owe cancels if asked to; returns the state it is now."""
    return str(
        await value(
            connection,
            "SELECT app.sp_trading_state_set($1, $2, $3, $4, $5, $6, $7, $8)",
            caller.user_id,
            caller.session_handle,
            request_id,
            scope,
            scope_id,
            state,
            reason,
            cancel_open,
        )
    )


async def session_check(connection: asyncpg.Connection, caller: Caller) -> SessionUser | None:
    """Return the user of a session that is neither revoked nor disabled."""
    found = await rows(
        connection,
        "SELECT user_id, email, role FROM app.sp_session_check($1, $2)",
        caller.user_id,
        caller.session_handle,
    )
    return SessionUser(**dict(found[0])) if found else None


async def sessions_check(
    connection: asyncpg.Connection, sessions: Sequence[SessionKey]
) -> list[LiveSession]:
    """Say of each session whether it lives, and the role of its user."""
    found = await rows(
        connection,
        "SELECT session_handle, user_id, role FROM app.sp_sessions_check($1, $2)",
        [session.session_handle for session in sessions],
        [session.user_id for session in sessions],
    )
    return [LiveSession(**dict(one)) for one in found]


async def session_revoked(
    connection: asyncpg.Connection, actor: str, *, user_id: UUID, session_handle: str
) -> None:
    """Record that a session was ended; repeating it changes nothing."""
    await value(
        connection, "SELECT app.sp_session_revoked($1, $2, $3)", actor, user_id, session_handle
    )


async def user_upsert(
    connection: asyncpg.Connection,
    actor: str,
    *,
    user_id: UUID,
    email: str,
    role: str,
    disabled: bool,
) -> None:
    """Mirror a user of the identity service; repeating it changes nothing."""
    await value(
        connection,
        "SELECT app.sp_user_upsert($1, $2, $3, $4, $5)",
        actor,
        user_id,
        email,
        role,
        disabled,
    )


async def inbox_put(
    connection: asyncpg.Connection,
    *,
    source: str,
    deploy_id: str,
    epoch: int,
    events: Sequence[dict[str, Any]],
    heartbeat: dict[str, Any] | None,
) -> int:
    """Keep what a bridge reported, once an event; returns the sequence we have without a gap."""
    return int(
        await value(
            connection,
            "SELECT app.sp_inbox_put($1, $2, $3, $4::text::jsonb, $5::text::jsonb)",
            source,
            deploy_id,
            epoch,
            json.dumps(list(events)),
            json.dumps(heartbeat),
        )
    )


async def record_quotes(
    connection: asyncpg.Connection, source: str, quotes: Sequence[dict[str, Any]]
) -> int:
    """Move the marks; returns how many quotes named an instrument we know."""
    return int(
        await value(
            connection,
            "SELECT app.sp_record_quotes($1, $2::text::jsonb)",
            source,
            json.dumps(list(quotes)),
        )
    )


async def last_prices(connection: asyncpg.Connection) -> list[LastPrice]:
    """Read every mark, to refill the hot store."""
    found = await rows(
        connection,
        "SELECT symbol, price, source, source_at, received_at FROM app.sp_last_prices()",
    )
    return [LastPrice(**dict(one)) for one in found]


async def schema_revision(connection: asyncpg.Connection) -> str | None:
    """Return the database's revision."""
    revision: str | None = await value(connection, "SELECT app.sp_schema_revision()")
    return revision
