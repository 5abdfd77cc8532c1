"""Procedures of master data, for administrators; side effect: Postgres."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import asyncpg
from pydantic import ValidationError

from app.core.errors import AppError, Unavailable
from app.core.problems import validation_failed
from app.models.dto import Inbound
from app.models.dto_admin import (
    IMPORTS,
    AccountSet,
    AllowListSet,
    CashMovement,
    ImportKind,
    InstrumentSet,
    LimitsSet,
    MemberSet,
    StrategySet,
    UserRateSet,
)
from app.services.sp_call import rows, value
from app.services.sp_rows import Caller

FAULTS_MAX = 100
ROWS_A_PAGE = 500


async def _call(
    connection: asyncpg.Connection,
    caller: Caller,
    request_id: str,
    procedure: str,
    *arguments: Any,
) -> Any:
    places = ", ".join(f"${number + 1}" for number in range(len(arguments) + 3))
    return await value(
        connection,
        f"SELECT app.{procedure}({places})",
        caller.user_id,
        caller.session_handle,
        request_id,
        *arguments,
    )


async def account_set(
    connection: asyncpg.Connection, caller: Caller, request_id: str, it: AccountSet
) -> int:
    """Make or change an account; returns its id."""
    arguments = (it.name, it.currency, it.route, it.broker_account, it.paper, it.broker)
    return int(await _call(connection, caller, request_id, "sp_admin_account", *arguments))


async def instrument_set(
    connection: asyncpg.Connection, caller: Caller, request_id: str, it: InstrumentSet
) -> int:
    """Make or change an instrument; returns its id."""
    arguments = (
        it.symbol,
        it.name,
        it.currency,
        it.tick_size,
        it.lot_size,
        it.tradable,
        it.multiplier,
    )
    return int(await _call(connection, caller, request_id, "sp_admin_instrument", *arguments))


async def strategy_set(
    connection: asyncpg.Connection, caller: Caller, request_id: str, it: StrategySet
) -> int:
    """Make a strategy; returns its id."""
    arguments = (it.account_id, it.name)
    return int(await _call(connection, caller, request_id, "sp_admin_strategy", *arguments))


async def member_set(
    connection: asyncpg.Connection, caller: Caller, request_id: str, it: MemberSet
) -> None:
    """Make a user a member of an account, or end that."""
    arguments = (it.account_id, it.user_id, it.can_trade)
    await _call(connection, caller, request_id, "sp_admin_member", *arguments)


async def limits_set(
    connection: asyncpg.Connection, caller: Caller, request_id: str, it: LimitsSet
) -> None:
    """Set the limits of an account."""
    arguments = (
        it.account_id,
        it.order_quantity_max,
        it.order_notional_max,
        it.price_collar,
        it.position_quantity_max,
        it.open_orders_max,
        it.orders_per_minute_max,
        it.daily_loss_max,
        it.leverage_max,
    )
    await _call(connection, caller, request_id, "sp_admin_limits", *arguments)


async def allow_list_set(
    connection: asyncpg.Connection, caller: Caller, request_id: str, it: AllowListSet
) -> None:
    """Say what an account may trade."""
    arguments = (it.account_id, it.symbols)
    await _call(connection, caller, request_id, "sp_admin_allow_list", *arguments)


async def user_rate_set(
    connection: asyncpg.Connection, caller: Caller, request_id: str, it: UserRateSet
) -> None:
    """Limit how fast a user places orders over all accounts."""
    arguments = (it.user_id, it.orders_per_minute_max)
    await _call(connection, caller, request_id, "sp_admin_user_rate", *arguments)


async def cash_book(
    connection: asyncpg.Connection, caller: Caller, request_id: str, it: CashMovement
) -> bool:
    """Book cash once a reference; says whether that was now."""
    amount = -it.amount if it.kind == "withdrawal" else it.amount
    arguments = (it.account_id, it.currency, amount, it.kind, it.reference)
    return bool(await _call(connection, caller, request_id, "sp_admin_cash", *arguments))


async def admin_list(
    connection: asyncpg.Connection, caller: Caller, kind: str, offset: int
) -> list[dict[str, Any]]:
    """Read a page of master data; numbers keep every digit."""
    found = await rows(
        connection,
        "SELECT one::text FROM app.sp_admin_list($1, $2, $3, $4) AS one",
        caller.user_id,
        caller.session_handle,
        kind,
        offset,
    )
    return [json.loads(one["one"], parse_float=Decimal) for one in found]


SETTERS = {
    AccountSet: account_set,
    InstrumentSet: instrument_set,
    MemberSet: member_set,
    LimitsSet: limits_set,
}


async def import_lines(
    connection: asyncpg.Connection,
    caller: Caller,
    request_id: str,
    kind: ImportKind,
    lines: Sequence[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Set line after line; returns what is wrong, of each line by its place in the list."""
    faults: list[dict[str, Any]] = []
    parsed: list[tuple[int, Inbound]] = []
    for place, line in enumerate(lines):
        try:
            parsed.append((place, IMPORTS[kind].model_validate(line)))
        except ValidationError as error:
            named = validation_failed(error.errors()).errors or ()
            faults += [{**fault, "loc": ["body", "lines", place, *fault["loc"]]} for fault in named]
    # Locks of accounts are taken in ascending order, as everywhere.
    parsed.sort(key=lambda it: (getattr(it[1], "account_id", 0), it[0]))
    for place, it in parsed:
        try:
            async with connection.transaction():
                await SETTERS[type(it)](connection, caller, request_id, it)  # type: ignore[operator]
        except Unavailable:
            raise
        except AppError as refusal:
            if refusal.status in (401, 403):
                raise
            faults.append({"loc": ["body", "lines", place], "type": refusal.code})
        if len(faults) >= FAULTS_MAX:
            break
    return sorted(faults, key=lambda fault: fault["loc"][2])[:FAULTS_MAX]
