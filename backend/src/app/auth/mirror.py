"""Our own record of users and sessions, written before the identity service hears of a change.

What procedures believe are these rows. So a change that is only half made leaves a user with fewer
rights than the identity service thinks, never with more.
"""

from dataclasses import dataclass
from uuid import UUID

from supertokens_python.asyncio import get_user
from supertokens_python.types import User

from app.core.errors import IdentityUnavailable
from app.core.logging import get_logger
from app.services import sp
from app.services.db import Database

log = get_logger(__name__)

ROLES = ("viewer", "trader", "admin")
# A user without any role may do nothing; the row needs one nevertheless.
LEAST_ROLE = "viewer"
# A handle that no session has: asks about the user alone.
NO_SESSION = "sign-in"


@dataclass(frozen=True, slots=True)
class _Somebody:
    user_id: UUID
    session_handle: str = NO_SESSION


class Mirror:
    """Writes users and ended sessions through the procedures."""

    def __init__(self) -> None:
        self._database: Database | None = None

    def bind(self, database: Database | None) -> None:
        """Say where to write; None takes it away."""
        self._database = database

    async def may_sign_in(self, user_id: str) -> bool:
        """Say whether our tables know this user and do not disable him."""
        async with self._open().transaction() as connection:
            return await sp.session_check(connection, _Somebody(UUID(user_id))) is not None

    async def session_ended(self, actor: str, user_id: str, handle: str) -> None:
        """Record that a session ended; every procedure refuses it from now on."""
        async with self._open().transaction() as connection:
            await sp.session_revoked(
                connection, actor, user_id=UUID(user_id), session_handle=handle
            )
        log.info("session_revoked", user_id=user_id, session_handle=handle, actor=actor)

    async def user_changed(
        self, actor: str, user_id: str, *, role: str | None, disabled: bool, email: str = ""
    ) -> None:
        """Record a user as he is from now on."""
        email = email or await self._email_of(user_id)
        async with self._open().transaction() as connection:
            await sp.user_upsert(
                connection,
                actor,
                user_id=UUID(user_id),
                email=email,
                role=role or LEAST_ROLE,
                disabled=disabled or role is None,
            )
        log.info("user_mirrored", user_id=user_id, role=role, disabled=disabled, actor=actor)

    async def _email_of(self, user_id: str) -> str:
        user: User | None = await get_user(user_id)
        if user is None or not user.emails:
            raise IdentityUnavailable("The core does not know this user any more.")
        return user.emails[0]

    def _open(self) -> Database:
        if self._database is None:
            raise IdentityUnavailable("No database to record changes of users and sessions in.")
        return self._database
