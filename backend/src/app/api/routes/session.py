"""Who is signed in: for pages, and for the proxy's gate."""

from fastapi import APIRouter, Request, Response

from app.api.dependencies import DatabaseDep, LiveUser, SignedIn
from app.api.openapi import problems
from app.api.routing import SessionRoute, session_router
from app.auth.read_tokens import sign_read_token
from app.core import errors
from app.core.security import SessionExpired, SessionRequired
from app.core.settings import Settings
from app.models.dto import ReadToken, Session, moment_text
from app.services import sp

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


@router.post(
    "/db-token",
    summary="Let me read the reporting views",
    responses=problems(errors.SessionRevoked),
)
async def make_read_token(request: Request, actor: SignedIn, database: DatabaseDep) -> ReadToken:
    """Answers a token for `app.user_token`; what it shows is decided by the tables at each read."""
    async with database.transaction() as connection:
        user = await sp.session_check(connection, actor)
    if user is None:
        raise errors.SessionRevoked()
    settings: Settings = request.app.state.settings
    token, expires_at = sign_read_token(settings, user.user_id)
    return ReadToken(token=token, expires_at=moment_text(expires_at))


@gate_router.get(
    "/verify",
    summary="May this request pass the proxy?",
    response_class=Response,
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
