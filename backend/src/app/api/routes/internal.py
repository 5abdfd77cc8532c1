"""What our own processes ask; never routed by the proxy."""

from fastapi import APIRouter, Request

from app.api.dependencies import DatabaseDep
from app.api.openapi import problems
from app.api.routing import StrictRoute
from app.auth.service_tokens import worker_only
from app.core import errors
from app.models.dto import Handles, SessionState, SessionStates
from app.services import sp


class InternalRoute(StrictRoute):
    """A route for the holders of a service token."""

    async def admit(self, request: Request) -> None:
        """Check the token before the body is read."""
        await worker_only(request)


router = APIRouter(prefix="/api/internal", tags=["internal"], route_class=InternalRoute)


@router.post(
    "/sessions/check",
    summary="Which of these sessions were revoked?",
    responses=problems(
        errors.ServiceTokenInvalid,
        errors.JsonMalformed,
        errors.UnsupportedMediaType,
        errors.ValidationFailed,
        errors.DatabaseUnavailable,
    ),
)
async def check_sessions(asked: Handles, database: DatabaseDep) -> SessionStates:
    """One answer a handle."""
    async with database.transaction() as connection:
        revoked = await sp.sessions_check(connection, asked.handles)
    return SessionStates(
        sessions=[
            SessionState(session_handle=handle, revoked=revoked.get(handle, True))
            for handle in dict.fromkeys(asked.handles)
        ]
    )
