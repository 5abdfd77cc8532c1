"""One typed function per procedure that app_write may call; side effect: Postgres.

The procedures decide; this module transports. What they refuse arrives as SQLSTATE class IN with a
machine code in DETAIL, and `REFUSALS` is the one table that makes problems of it.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any
from uuid import UUID

import asyncpg

from app.core import errors
from app.core.errors import AppError
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

REFUSALS: dict[str, type[AppError]] = {
    error.code: error
    for error in (
        errors.SessionRevoked,
        errors.UserUnknown,
        errors.UserDisabled,
        errors.RoleNotAllowed,
        errors.NotAllowedToTrade,
        errors.AccountNotFound,
        errors.OrderNotFound,
        errors.StrategyNotFound,
        errors.SourceUnknown,
        errors.OrderNotCancelable,
        errors.EpochStale,
        errors.IdempotencyKeyReused,
        errors.InstrumentNotFound,
    )
}
# A code we have no class for keeps its status and its code.
BY_SQLSTATE: dict[str, type[AppError]] = {
    "IN400": errors.BadRequest,
    "IN401": errors.NotSignedIn,
    "IN403": errors.Forbidden,
    "IN404": errors.NotFound,
    "IN409": errors.Conflict,
    "IN422": errors.Unprocessable,
    "22000": errors.ValueRefused,
    "22003": errors.ValueRefused,
    "22021": errors.ValueRefused,
    "22P05": errors.ValueRefused,
}


# Named one by one, so that a procedure may return more to a newer release.
ORDER_COLUMNS = ", ".join(field.name for field in fields(OrderResult))
ORDER_FROM = f"SELECT {ORDER_COLUMNS} FROM "  # noqa: S608 - nothing in it comes from outside
PREVIEW_COLUMNS = ", ".join(field.name for field in fields(OrderPreview))
PREVIEW_FROM = f"SELECT {PREVIEW_COLUMNS} FROM "  # noqa: S608 - nothing in it comes from outside


@asynccontextmanager
async def refusals() -> AsyncIterator[None]:
    """Turn a procedure's refusal into the problem it means; unknown errors pass."""
    try:
        yield
    except asyncpg.PostgresError as error:
        refusal = refusal_for(error)
        if refusal is None:
            raise
        raise refusal from error


def refusal_for(error: asyncpg.PostgresError) -> AppError | None:
    """Look an SQLSTATE and its DETAIL up in the table."""
    sqlstate = error.sqlstate or ""
    fallback = BY_SQLSTATE.get(sqlstate)
    if fallback is None:
        return None
    if not sqlstate.startswith("IN"):
        return fallback()
    code = str(error.detail or fallback.code)
    known = REFUSALS.get(code)
    if known is not None and known.status == fallback.status:
        return known()
    return fallback(str(error.message or "") or None, code=code)


async def _row(connection: asyncpg.Connection, query: str, *arguments: Any) -> asyncpg.Record:
    async with refusals():
        row = await connection.fetchrow(query, *arguments)
    if row is None:
        raise errors.AppError("The procedure returned nothing.")
    return row


async def _value(connection: asyncpg.Connection, query: str, *arguments: Any) -> Any:
    async with refusals():
        return await connection.fetchval(query, *arguments)


async def _rows(
    connection: asyncpg.Connection, query: str, *arguments: Any
) -> list[asyncpg.Record]:
    async with refusals():
        rows: list[asyncpg.Record] = await connection.fetch(query, *arguments)
    return rows


async def place_order(
    connection: asyncpg.Connection, caller: Caller, request_id: str, order: NewOrder
) -> OrderResult:
    """Record the order once; the caller's transaction decides when it counts."""
    row = await _row(
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
    return OrderResult(**dict(row))


async def preview_order(
    connection: asyncpg.Connection, caller: Caller, order: NewOrder
) -> OrderPreview:
    """Ask what placing the order would do now; writes nothing."""
    row = await _row(
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
    return OrderPreview(**dict(row))


async def cancel_order(
    connection: asyncpg.Connection, caller: Caller, request_id: str, *, key: str, order_id: int
) -> OrderResult:
    """Ask for the order's cancellation once."""
    row = await _row(
        connection,
        ORDER_FROM + "app.sp_cancel_order($1, $2, $3, $4, $5)",
        caller.user_id,
        caller.session_handle,
        request_id,
        key,
        order_id,
    )
    return OrderResult(**dict(row))


async def order_status(
    connection: asyncpg.Connection, caller: Caller, client_order_id: str
) -> OrderResult:
    """Read one order in its current state."""
    row = await _row(
        connection,
        ORDER_FROM + "app.sp_order_status($1, $2, $3)",
        caller.user_id,
        caller.session_handle,
        client_order_id,
    )
    return OrderResult(**dict(row))


async def trading_state_set(
    connection: asyncpg.Connection,
    caller: Caller,
    request_id: str,
    *,
    scope: str,
    scope_id: int,
    state: str,
    reason: str,
) -> str:
    """Halt, reduce or resume trading; returns the state it is in now."""
    return str(
        await _value(
            connection,
            "SELECT app.sp_trading_state_set($1, $2, $3, $4, $5, $6, $7)",
            caller.user_id,
            caller.session_handle,
            request_id,
            scope,
            scope_id,
            state,
            reason,
        )
    )


async def session_check(connection: asyncpg.Connection, caller: Caller) -> SessionUser | None:
    """Return the user of a session that is neither revoked nor disabled."""
    rows = await _rows(
        connection,
        "SELECT user_id, email, role FROM app.sp_session_check($1, $2)",
        caller.user_id,
        caller.session_handle,
    )
    return SessionUser(**dict(rows[0])) if rows else None


async def sessions_check(
    connection: asyncpg.Connection, sessions: Sequence[SessionKey]
) -> list[LiveSession]:
    """Say of each session whether it lives, and the role of its user."""
    rows = await _rows(
        connection,
        "SELECT session_handle, user_id, role FROM app.sp_sessions_check($1, $2)",
        [session.session_handle for session in sessions],
        [session.user_id for session in sessions],
    )
    return [LiveSession(**dict(row)) for row in rows]


async def session_revoked(
    connection: asyncpg.Connection, actor: str, *, user_id: UUID, session_handle: str
) -> None:
    """Record that a session was ended; repeating it changes nothing."""
    await _value(
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
    await _value(
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
        await _value(
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
        await _value(
            connection,
            "SELECT app.sp_record_quotes($1, $2::text::jsonb)",
            source,
            json.dumps(list(quotes)),
        )
    )


async def last_prices(connection: asyncpg.Connection) -> list[LastPrice]:
    """Read every mark, to refill the hot store."""
    rows = await _rows(
        connection,
        "SELECT symbol, price, source, source_at, received_at FROM app.sp_last_prices()",
    )
    return [LastPrice(**dict(row)) for row in rows]


async def schema_revision(connection: asyncpg.Connection) -> str | None:
    """Return the database's revision."""
    revision: str | None = await _value(connection, "SELECT app.sp_schema_revision()")
    return revision
