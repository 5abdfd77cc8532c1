"""Procedures that place several orders and change open ones; side effect: Postgres."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from app.core.errors import AppError
from app.services.sp import ORDER_COLUMNS, ORDER_FROM
from app.services.sp_call import refusal_of, row, rows, value
from app.services.sp_rows import Caller, Changes, NewOrder, OrderResult

# The notice of sp_place_items that it has its locks.
LOCKED = "IN000"
ITEM_REFUSED = re.compile(r"item ([0-9]{1,3}): ")


@dataclass(frozen=True, slots=True)
class Placement:
    """One order on its way, and who placed it in which request."""

    caller: Caller
    request_id: str
    order: NewOrder


async def place_orders(
    connection: asyncpg.Connection, caller: Caller, request_id: str, orders: Sequence[NewOrder]
) -> list[OrderResult]:
    """Record orders of one user together, each once; a refusal of one refuses all."""
    try:
        found = await rows(
            connection,
            ORDER_FROM + "app.sp_place_orders($1, $2, $3, $4::text::jsonb)",
            caller.user_id,
            caller.session_handle,
            request_id,
            json.dumps([order_item(order) for order in orders]),
        )
    except AppError as refusal:
        named = ITEM_REFUSED.match(str(getattr(refusal.__cause__, "message", "")))
        if named and refusal.errors is None:
            location = ["body", "orders", int(named[1]) - 1]
            refusal.errors = [{"loc": location, "type": refusal.code}]
        raise
    return [OrderResult(**dict(one)) for one in found]


async def place_batch(
    connection: asyncpg.Connection,
    placements: Sequence[Placement],
    on_locked: Callable[[], None] = lambda: None,
) -> list[OrderResult | AppError]:
    """Record orders of several users together, each refused alone.

    `on_locked` is called as soon as the accounts are locked: a batch sent from then on comes later.
    """
    items = [
        order_item(
            it.order, str(it.caller.user_id), it.caller.session_handle, request_id=it.request_id
        )
        for it in placements
    ]

    def heard(_: asyncpg.Connection, notice: asyncpg.PostgresLogMessage) -> None:
        if notice.sqlstate == LOCKED:
            on_locked()

    connection.add_log_listener(heard)
    try:
        found = await rows(
            connection,
            f"SELECT {ORDER_COLUMNS}, sqlstate, code, message "  # noqa: S608 - our own names
            "FROM app.sp_place_batch($1::text::jsonb) ORDER BY ordinal",
            json.dumps(items),
        )
    finally:
        connection.remove_log_listener(heard)
    return [_outcome(dict(one)) for one in found]


def _outcome(found: dict[str, Any]) -> OrderResult | AppError:
    sqlstate, code, message = (found.pop(name) for name in ("sqlstate", "code", "message"))
    if sqlstate is None:
        return OrderResult(**found)
    return refusal_of(sqlstate, code, message) or AppError()


def order_item(
    order: NewOrder,
    user_id: str | None = None,
    session: str | None = None,
    request_id: str | None = None,
) -> dict[str, str]:
    """Write an order as the procedures read it in a list: strings alone.

    In the order in which jsonb keeps its keys, by length and then by name: it need not sort them.
    """
    values = {
        "side": order.side,
        "symbol": order.symbol,
        "session": session,
        "user_id": user_id,
        "quantity": format(order.quantity, "f"),
        "account_id": str(order.account_id),
        "expires_at": order.expires_at and order.expires_at.isoformat(),
        "order_type": order.order_type,
        "request_id": request_id,
        "stop_price": order.stop_price and format(order.stop_price, "f"),
        "limit_price": order.limit_price and format(order.limit_price, "f"),
        "strategy_id": order.strategy_id and str(order.strategy_id),
        "time_in_force": order.time_in_force,
        "client_order_id": order.client_order_id,
    }
    return {name: str(value) for name, value in values.items() if value is not None}


async def replace_order(
    connection: asyncpg.Connection,
    caller: Caller,
    request_id: str,
    *,
    key: str,
    order_id: int,
    changes: Changes,
) -> OrderResult:
    """Ask for a change of an open order once."""
    found = await row(
        connection,
        ORDER_FROM + "app.sp_replace_order($1, $2, $3, $4, $5, $6, $7, $8)",
        caller.user_id,
        caller.session_handle,
        request_id,
        key,
        order_id,
        changes.quantity,
        changes.limit_price,
        changes.stop_price,
    )
    return OrderResult(**dict(found))


async def cancel_all(
    connection: asyncpg.Connection, caller: Caller, request_id: str, *, key: str, account_id: int
) -> int:
    """Ask for the cancellation of every open order of an account once."""
    return int(
        await value(
            connection,
            "SELECT app.sp_cancel_all($1, $2, $3, $4, $5)",
            caller.user_id,
            caller.session_handle,
            request_id,
            key,
            account_id,
        )
    )
