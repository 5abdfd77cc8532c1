"""What operators do about rows that wait, orders that are lost, and breaks."""

from typing import Annotated

from fastapi import Path, status

from app.api.dependencies import DatabaseDep, RequestId, SignedIn
from app.api.openapi import Responses, problems
from app.api.routing import session_router
from app.core import errors, errors_operations
from app.models.dto import ID_PATTERN
from app.models.dto_operations import BreakResolve, OrderResolve, OrderResolved, Requeued
from app.services import sp_operations

router = session_router("/api/admin", "admin")

EventPath = Annotated[str, Path(pattern=ID_PATTERN, description="The event_id of a row")]
OrderPath = Annotated[str, Path(pattern=ID_PATTERN, description="The order_id of an order")]
BreakPath = Annotated[str, Path(pattern=ID_PATTERN, description="The break_id of a break")]


def _refusals(*more: type[errors.AppError]) -> Responses:
    """Describe what every route here may refuse, and more."""
    return problems(
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        *more,
        errors.Unprocessable,
        errors.DatabaseBusy,
    )


@router.post(
    "/outbox/{event_id}/requeue",
    summary="Let a row of the outbox go on",
    responses=_refusals(errors_operations.EventNotFound),
)
async def requeue(
    event_id: EventPath, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> Requeued:
    """Its lane waits no longer; a dead row comes back, as a question to the broker."""
    async with database.transaction() as connection:
        was = await sp_operations.requeue(connection, actor, request_id, int(event_id))
    database.notify_poke()
    return Requeued.model_validate({"was": was})


@router.post(
    "/orders/{order_id}/resolve",
    summary="Say what became of a lost order",
    responses=_refusals(errors.OrderNotFound, errors_operations.OrderNotLost),
)
async def resolve_order(
    order_id: OrderPath,
    found: OrderResolve,
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
) -> OrderResolved:
    """What it executed stays booked; `submit_unknown` has the broker asked again."""
    async with database.transaction() as connection:
        state = await sp_operations.resolve_order(
            connection,
            actor,
            request_id,
            order_id=int(order_id),
            status=found.status,
            reason=found.reason,
        )
    database.notify_poke()
    return OrderResolved(status=state)


@router.post(
    "/recon-breaks/{break_id}/resolve",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Say what a break was",
    responses=_refusals(errors_operations.BreakNotFound, errors_operations.BreakNotOpen),
)
async def resolve_break(
    break_id: BreakPath,
    found: BreakResolve,
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
) -> None:
    """Trading stays as it was switched: resume the account when it may trade again."""
    async with database.transaction() as connection:
        await sp_operations.resolve_break(
            connection, actor, request_id, int(break_id), found.reason
        )
