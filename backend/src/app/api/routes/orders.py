"""Placing and canceling orders: writes only."""

from typing import Annotated

from fastapi import Path, Response, status

from app.api.dependencies import DatabaseDep, IdempotencyKey, RequestId, SignedIn
from app.api.openapi import merged, problems
from app.api.routing import session_router
from app.core import errors
from app.models.dto import ID_PATTERN, Order, PlaceOrder, moment_text, number_text
from app.services import sp
from app.services.sp_rows import NewOrder, OrderResult

REPLAYED = "Idempotent-Replayed"
REPLAY_HEADER = {REPLAYED: {"schema": {"type": "string", "enum": ["true"]}}}
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": '^"?[A-Za-z0-9_-]{1,36}"?$'},
    "description": "The client order id, quoted or bare; the same id places one order only.",
}

router = session_router("/api/orders", "orders")

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
    response: Response,
) -> Order:
    """Answers 201 the first time and 200 when it was already placed, a denied order too."""
    if key is None:
        raise errors.IdempotencyKeyMissing()
    new_order = NewOrder(client_order_id=key, **dict(order))
    async with database.transaction() as connection:
        result = await sp.place_order(connection, actor, request_id, new_order)
    if result.replayed:
        response.status_code = status.HTTP_200_OK
        response.headers[REPLAYED] = "true"
    elif result.status != "denied":
        database.notify_poke()
    return order_dto(result)


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
