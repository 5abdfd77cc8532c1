"""Placing, changing and canceling orders: writes only."""

from typing import Annotated
from uuid import uuid4

from fastapi import Path, Response, status

from app.api.dependencies import DatabaseDep, IdempotencyKey, PlacementsDep, RequestId, SignedIn
from app.api.openapi import merged, problems
from app.api.routing import session_router
from app.core import errors, errors_trading
from app.models.dto import ID_PATTERN, moment_text, number_text
from app.models.dto_orders import (
    CancelAll,
    Canceled,
    Order,
    Orders,
    PlaceOrder,
    PlaceOrders,
    ReplaceOrder,
)
from app.services import sp, sp_orders
from app.services.sp_orders import Placement
from app.services.sp_rows import Changes, NewOrder, OrderResult

REPLAYED = "Idempotent-Replayed"
REPLAY_HEADER = {REPLAYED: {"schema": {"type": "string", "enum": ["true"]}}}
KEY_PATTERN = '^("[A-Za-z0-9_-]{1,36}"|[A-Za-z0-9_-]{1,36})$'
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
    "description": "The client order id, quoted or bare; the same id places one order only.",
}
CHANGE_KEY = {**KEY_PARAMETER, "description": "An id of this request; repeat it with the request."}

router = session_router("/api/orders", "orders", family="orders")

OrderId = Annotated[str, Path(pattern=ID_PATTERN, description="The order_id of an order")]


def order_dto(result: OrderResult) -> Order:
    """Write an order for the wire."""
    average, largest = result.average_price, result.quantity_max
    return Order(
        order_id=str(result.order_id),
        client_order_id=result.client_order_id,
        account_id=str(result.account_id),
        status=result.status,
        reason_code=result.reason_code,
        cum_quantity=number_text(result.cum_quantity),
        average_price=None if average is None else number_text(average),
        replayed=result.replayed,
        created_at=moment_text(result.created_at),
        updated_at=moment_text(result.updated_at),
        quantity_max=None if largest is None else number_text(largest),
    )


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Place an order",
    responses=merged(
        {200: {"description": "It was placed before", "model": Order, "headers": REPLAY_HEADER}},
        problems(
            errors.IdempotencyKeyMissing,
            errors.IdempotencyKeyInvalid,
            errors.SessionRevoked,
            errors.RoleNotAllowed,
            errors.NotAllowedToTrade,
            errors.AccountNotFound,
            errors.StrategyNotFound,
            errors.IdempotencyKeyReused,
            errors.InstrumentNotFound,
            errors.DatabaseBusy,
        ),
    ),
    openapi_extra={"parameters": [{**KEY_PARAMETER, "required": True}]},
)
async def place_order(
    *,
    order: PlaceOrder,
    key: IdempotencyKey,
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
    placements: PlacementsDep,
    response: Response,
) -> Order:
    """Answers 201 the first time and 200 when it was already placed, a denied order too."""
    if key is None:
        raise errors.IdempotencyKeyMissing()
    new_order = NewOrder(client_order_id=key, **dict(order))
    result = await placements.place(Placement(actor, request_id, new_order))
    if result.replayed:
        response.status_code = status.HTTP_200_OK
        response.headers[REPLAYED] = "true"
    elif result.status != "denied":
        database.notify_poke()
    return order_dto(result)


@router.post(
    "/batch",
    status_code=status.HTTP_201_CREATED,
    summary="Place up to 500 orders",
    responses=merged(
        {200: {"description": "All were placed before", "model": Orders, "headers": REPLAY_HEADER}},
        problems(
            errors.SessionRevoked,
            errors.RoleNotAllowed,
            errors.NotAllowedToTrade,
            errors.AccountNotFound,
            errors.StrategyNotFound,
            errors.IdempotencyKeyReused,
            errors.InstrumentNotFound,
            errors.DatabaseBusy,
        ),
    ),
)
async def place_orders(
    *,
    batch: PlaceOrders,
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
    response: Response,
) -> Orders:
    """One answer an item, a denied order too; what must be refused refuses the whole batch."""
    wanted = [NewOrder(**dict(item)) for item in batch.orders]
    async with database.transaction() as connection:
        results = await sp_orders.place_orders(connection, actor, request_id, wanted)
    if all(result.replayed for result in results):
        response.status_code = status.HTTP_200_OK
        response.headers[REPLAYED] = "true"
    else:
        database.notify_poke()
    return Orders(orders=[order_dto(result) for result in results])


@router.post(
    "/cancel-all",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Cancel every open order of an account",
    responses=problems(
        errors.IdempotencyKeyInvalid,
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        errors.NotAllowedToTrade,
        errors.AccountNotFound,
        errors.IdempotencyKeyReused,
        errors.DatabaseBusy,
    ),
    openapi_extra={"parameters": [CHANGE_KEY]},
)
async def cancel_all(
    wanted: CancelAll,
    key: IdempotencyKey,
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
) -> Canceled:
    """Without a key every call is a request of its own."""
    async with database.transaction() as connection:
        count = await sp_orders.cancel_all(
            connection, actor, request_id, key=key or uuid4().hex, account_id=wanted.account_id
        )
    database.notify_poke()
    return Canceled(account_id=str(wanted.account_id), canceled=count)


@router.patch(
    "/{order_id:order_id}",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Replace an order",
    responses=problems(
        errors.IdempotencyKeyMissing,
        errors.IdempotencyKeyInvalid,
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        errors.NotAllowedToTrade,
        errors.OrderNotFound,
        errors_trading.OrderNotReplaceable,
        errors_trading.QuantityBelowFilled,
        errors_trading.ReplaceDenied,
        errors_trading.ReplaceEmpty,
        errors.IdempotencyKeyReused,
        errors.DatabaseBusy,
    ),
    openapi_extra={"parameters": [{**CHANGE_KEY, "required": True}]},
)
async def replace_order(
    *,
    order_id: OrderId,
    wanted: ReplaceOrder,
    key: IdempotencyKey,
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
    response: Response,
) -> Order:
    """What never left is changed at once; a working order is `pending_replace` until it is."""
    if key is None:
        raise errors.IdempotencyKeyMissing()
    async with database.transaction() as connection:
        result = await sp_orders.replace_order(
            connection,
            actor,
            request_id,
            key=key,
            order_id=int(order_id),
            changes=Changes(**dict(wanted)),
        )
    if result.replayed:
        response.headers[REPLAYED] = "true"
    # Only now: the denial is on record, whatever becomes of the answer.
    if result.replace_denied is not None:
        raise _denied(result, result.replace_denied)
    database.notify_poke()
    return order_dto(result)


def _denied(result: OrderResult, reason_code: str) -> errors_trading.ReplaceDenied:
    fault = {"loc": ["body"], "type": reason_code}
    if result.quantity_max is not None:
        fault["quantity_max"] = number_text(result.quantity_max)
    return errors_trading.ReplaceDenied(
        errors=[fault], headers={REPLAYED: "true"} if result.replayed else None
    )


@router.post(
    "/{order_id}/cancel",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Cancel an order",
    responses=problems(
        errors.IdempotencyKeyInvalid,
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        errors.NotAllowedToTrade,
        errors.OrderNotFound,
        errors.OrderNotCancelable,
        errors.IdempotencyKeyReused,
        errors.DatabaseBusy,
    ),
    openapi_extra={"parameters": [KEY_PARAMETER]},
)
async def cancel_order(
    order_id: OrderId,
    key: IdempotencyKey,
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
) -> Order:
    """The answer says what was asked for; whether the venue follows comes with the status."""
    async with database.transaction() as connection:
        result = await sp.cancel_order(
            connection,
            actor,
            request_id,
            key=key or f"cancel-{order_id}",
            order_id=int(order_id),
        )
    database.notify_poke()
    return order_dto(result)
