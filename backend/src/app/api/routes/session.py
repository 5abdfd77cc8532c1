"""Who is signed in: for pages, and for the proxy's gate."""

from fastapi import APIRouter, Request, Response

from app.api.dependencies import LiveUser, SignedIn
from app.api.openapi import problems
from app.api.routing import SessionRoute, session_router
from app.core import errors
from app.core.security import SessionExpired, SessionRequired
from app.models.dto import Session, moment_text

router = session_router("/api/session", "session")
gate_router = APIRouter(prefix="/auth", tags=["session"], route_class=SessionRoute)


@router.get("", summary="Who am I?", responses=problems(errors.SessionRevoked))
async def read_session(actor: SignedIn, user: LiveUser) -> Session:
    """Answers the user as the tables know him; takes a refreshed token into use."""
    return Session(
        user_id=str(user.user_id),
        email=user.email,
        role=user.role,
        session_handle=actor.session_handle,
        expires_at=moment_text(actor.expires_at),
    )


@gate_router.get(
    "/verify",
    summary="May this request pass the proxy?",
    responses=problems(
        SessionRequired, SessionExpired, errors.SessionRevoked, errors.DatabaseUnavailable
    ),
)
async def verify(request: Request, actor: SignedIn, user: LiveUser) -> Response:
    """Answers with the headers that the proxy hands on; never with a cookie."""
    # The SDK's middleware would set one after a refresh, and the proxy would drop it: the new
    # token is taken into use by GET /api/session alone.
    request.state.supertokens = None
    return Response(
        headers={
            "X-User-Id": str(user.user_id),
            "X-User-Role": user.role,
            "X-Session-Handle": actor.session_handle,
        }
    )
