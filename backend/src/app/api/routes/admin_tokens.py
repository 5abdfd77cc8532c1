"""Making and ending the tokens by which programs act for users."""

from typing import Annotated

from fastapi import Path, status

from app.api.dependencies import DatabaseDep, RequestId, SignedIn
from app.api.openapi import problems
from app.api.routing import session_router
from app.auth.service_tokens import new_token
from app.core import errors, errors_tokens, errors_trading
from app.models.dto import ID_PATTERN
from app.models.dto_tokens import TokenCreate, TokenCreated
from app.services import sp_tokens

router = session_router("/api/admin/tokens", "admin")


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Make a service token",
    responses=problems(
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        errors_trading.UserNotFound,
        errors.AccountNotFound,
        errors.Unprocessable,
        errors.DatabaseBusy,
    ),
)
async def create_token(
    wanted: TokenCreate, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> TokenCreated:
    """Shows the token this once: only its hash is kept. Every call makes another one."""
    token, digest = new_token()
    async with database.transaction() as connection:
        token_id = await sp_tokens.token_create(connection, actor, request_id, digest, wanted)
    return TokenCreated(token_id=str(token_id), token=token)


@router.post(
    "/{token_id}/revoke",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Revoke a service token",
    responses=problems(
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        errors_tokens.TokenNotFound,
        errors.DatabaseBusy,
    ),
)
async def revoke_token(
    token_id: Annotated[str, Path(pattern=ID_PATTERN, description="The token_id of a token")],
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
) -> None:
    """Binds the very next write; repeating it changes nothing."""
    async with database.transaction() as connection:
        await sp_tokens.token_revoke(connection, actor, request_id, int(token_id))
