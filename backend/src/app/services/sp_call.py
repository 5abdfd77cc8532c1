"""How a procedure is called, and what its refusals mean; side effect: Postgres.

The procedures decide; this module transports. What they refuse arrives as SQLSTATE class IN with a
machine code in DETAIL, and `REFUSALS` is the one table that makes problems of it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from app.core import errors, errors_operations, errors_tokens, errors_trading
from app.core.errors import AppError

REFUSALS: dict[str, type[AppError]] = {
    error.code: error
    for error in (
        errors.SessionRevoked,
        errors.UserUnknown,
        errors.UserDisabled,
        errors.ServiceTokenInvalid,
        errors_tokens.ServiceTokenRevoked,
        errors_tokens.ServiceTokenExpired,
        errors_tokens.ScopeNotAllowed,
        errors_tokens.TokenNotFound,
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
        errors_operations.EventNotFound,
        errors_operations.OrderNotLost,
        errors_operations.BreakNotFound,
        errors_operations.BreakNotOpen,
        errors_operations.ChannelNotFound,
        errors_operations.ChannelsFull,
        errors_trading.OrderNotReplaceable,
        errors_trading.QuantityBelowFilled,
        errors_trading.ReplaceEmpty,
        errors_trading.UserNotFound,
        errors_trading.CurrencyFixed,
        errors_trading.MultiplierFixed,
        errors_trading.NameTaken,
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
    return refusal_of(error.sqlstate, error.detail, error.message)


def refusal_of(sqlstate: str | None, detail: str | None, message: str | None) -> AppError | None:
    """Look an SQLSTATE and a machine code up in the table."""
    fallback = BY_SQLSTATE.get(sqlstate or "")
    if fallback is None or sqlstate is None:
        return None
    if not sqlstate.startswith("IN"):
        return fallback()
    code = str(detail or fallback.code)
    known = REFUSALS.get(code)
    if known is not None and known.status == fallback.status:
        return known()
    return fallback(str(message or "") or None, code=code)


async def row(connection: asyncpg.Connection, query: str, *arguments: Any) -> asyncpg.Record:
    async with refusals():
        row = await connection.fetchrow(query, *arguments)
    if row is None:
        raise errors.AppError("The procedure returned nothing.")
    return row


async def value(connection: asyncpg.Connection, query: str, *arguments: Any) -> Any:
    async with refusals():
        return await connection.fetchval(query, *arguments)


async def rows(connection: asyncpg.Connection, query: str, *arguments: Any) -> list[asyncpg.Record]:
    async with refusals():
        rows: list[asyncpg.Record] = await connection.fetch(query, *arguments)
    return rows
