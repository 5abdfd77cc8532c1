"""Service tokens on the wire."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from app.models.dto import Identifier, Inbound, Moment, Outbound, UserId
from app.models.dto_admin import IdShown, MomentShown, Name, moment_shown

Scope = Literal["orders:read", "orders:write", "data:read", "data:write", "hot:read", "hot:write"]
MomentOrNever = Annotated[
    str | None, BeforeValidator(lambda value: None if value is None else moment_shown(value))
]


class TokenCreate(Inbound):
    """A service token: whom it acts for, what it may do, where, and until when."""

    user_id: UserId
    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=6)]
    account_ids: list[Identifier] = Field(default=[], max_length=100)
    expires_at: Moment


class TokenCreated(Outbound):
    """A new service token; it is shown this once and kept nowhere."""

    token_id: str
    token: str


class TokenShown(Outbound):
    """A service token as administrators see it; never the token."""

    token_id: IdShown
    user_id: str
    email: str
    name: str
    scopes: list[str]
    account_ids: list[IdShown]
    created_by: str
    created_at: MomentShown
    expires_at: MomentShown
    revoked_at: MomentOrNever
    last_used_at: MomentOrNever
