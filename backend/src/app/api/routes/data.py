"""Safe writes of data that is no order: prices."""

from fastapi import APIRouter, Request

from app.api.dependencies import DatabaseDep, HotQuotesDep
from app.api.openapi import problems
from app.api.routing import StrictRoute
from app.auth.rbac import Role, require, signed_in
from app.auth.service_tokens import bears_worker_token
from app.core import errors
from app.core.security import SessionExpired, SessionRequired
from app.models.dto import Quotes, QuotesRecorded
from app.services import sp


class DataRoute(StrictRoute):
    """Open to administrators and to our own worker."""

    async def admit(self, request: Request) -> None:
        """Check who it is before 8 MiB are read."""
        if not bears_worker_token(request):
            await signed_in(request)
            await require(Role.ADMIN)(request)


router = APIRouter(prefix="/api/data", tags=["data"], route_class=DataRoute)


@router.post(
    "/quotes",
    summary="Record prices",
    responses=problems(
        SessionRequired,
        SessionExpired,
        errors.RoleNotAllowed,
        errors.CsrfRejected,
        errors.JsonMalformed,
        errors.UnsupportedMediaType,
        errors.ValidationFailed,
        errors.DatabaseUnavailable,
    ),
)
async def record_quotes(
    batch: Quotes, database: DatabaseDep, hot_quotes: HotQuotesDep
) -> QuotesRecorded:
    """Moves the marks and the hot store; unknown symbols are left out and not counted."""
    quotes = [quote.model_dump(exclude_none=True) for quote in batch.quotes]
    async with database.transaction() as connection:
        recorded = await sp.record_quotes(connection, batch.source, quotes)
    await hot_quotes.publish(batch.source, quotes)
    return QuotesRecorded(recorded=recorded)
