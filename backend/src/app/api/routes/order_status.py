"""The one read of orders, for programs."""

from typing import Annotated

from fastapi import Path

from app.api.dependencies import DatabaseDep, SignedIn
from app.api.openapi import problems
from app.api.routes.orders import order_dto
from app.api.routing import session_router
from app.core import errors
from app.models.dto import CLIENT_ORDER_ID_PATTERN
from app.models.dto_orders import Order
from app.services import sp

router = session_router("/api/orders", "orders", family="orders")

ClientOrderId = Annotated[str, Path(pattern=CLIENT_ORDER_ID_PATTERN)]


@router.get(
    "/{client_order_id}",
    summary="Read an order",
    responses=problems(errors.SessionRevoked, errors.OrderNotFound),
)
async def read_order(
    client_order_id: ClientOrderId, actor: SignedIn, database: DatabaseDep
) -> Order:
    """Answers the order in its current state."""
    async with database.transaction() as connection:
        return order_dto(await sp.order_status(connection, actor, client_order_id))
