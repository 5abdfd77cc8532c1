"""What our own processes ask; never routed by the proxy."""

from fastapi import APIRouter, Request

from app.api.dependencies import DatabaseDep
from app.api.openapi import problems
from app.api.routing import StrictRoute
from app.auth.service_tokens import worker_only
from app.core import errors
from app.models.dto import SessionKeys, SessionState, SessionStates
from app.services import sp
from app.services.sp_rows import SessionKey


class InternalRoute(StrictRoute):
    """A route for the holders of a service token."""

    async def admit(self, request: Request) -> None:
        """Check the token before the body is read."""
        await worker_only(request)


router = APIRouter(prefix="/api/internal", tags=["internal"], route_class=InternalRoute)


@router.post(
    "/sessions/check",
    summary="Which of these sessions live?",
    responses=problems(
        errors.ServiceTokenInvalid,
        errors.JsonMalformed,
        errors.UnsupportedMediaType,
        errors.ValidationFailed,
        errors.DatabaseUnavailable,
    ),
)
async def check_sessions(asked: SessionKeys, database: DatabaseDep) -> SessionStates:
    """One answer a session: asked of the tables, so it follows a change at once."""
    keys = [SessionKey(session.handle, session.user_id) for session in asked.sessions]
    async with database.transaction() as connection:
        found = await sp.sessions_check(connection, keys)
    return SessionStates(
        sessions=[
            SessionState(
                handle=session.session_handle,
                user_id=str(session.user_id),
                active=session.role is not None,
                role=session.role,
            )
            for session in found
        ]
    )
