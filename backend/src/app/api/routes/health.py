"""Whether this process lives, and whether it can serve."""

from fastapi import APIRouter, Request

from app.api.dependencies import DatabaseDep
from app.api.openapi import problems
from app.api.routing import StrictRoute
from app.core.errors import DatabaseUnavailable, HotStoreUnavailable, NotReady
from app.models.dto import Status
from app.services import sp
from app.services.db import SCHEMA_REVISION

router = APIRouter(prefix="/api/health", tags=["health"], route_class=StrictRoute)


@router.get("/live", summary="Does the process answer?")
async def live() -> Status:
    """Looks at nothing but itself."""
    return Status(status="live")


@router.get(
    "/ready",
    summary="Can the process serve?",
    responses=problems(NotReady, DatabaseUnavailable, HotStoreUnavailable),
)
async def ready(request: Request, database: DatabaseDep) -> Status:
    """Looks at the database, its revision, and the hot store where this process has one."""
    async with database.transaction() as connection:
        revision = await sp.schema_revision(connection)
    if revision != SCHEMA_REVISION:
        raise NotReady(f"The database is at {revision}, not at {SCHEMA_REVISION}: run migrate.")
    if request.app.state.hot_store_wanted and request.app.state.hot_quotes.actor is None:
        raise HotStoreUnavailable()
    return Status(status="ready")
