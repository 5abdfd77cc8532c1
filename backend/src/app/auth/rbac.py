"""May they: the roles, and the dependency that lets only some of them in.

The role comes from our own tables, never from the token, which still holds the old one after a
change. Writes that end in a procedure need nothing of this: the procedure checks again.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import cast

from fastapi import Request

from app.auth.service_tokens import bears_token, program, refuse_two_credentials
from app.core.errors import RoleNotAllowed, SessionRevoked
from app.core.security import SAFE_METHODS, Actor, current_actor
from app.services.sessions import Sessions
from app.services.sp_rows import SessionUser


class Role(StrEnum):
    """What a user may do, each role including the ones before it."""

    VIEWER = "viewer"
    TRADER = "trader"
    ADMIN = "admin"

    def covers(self, needed: "Role") -> bool:
        """Say whether this role includes the needed one."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


async def signed_in(request: Request) -> Actor:
    """Return who sends this request; verified once a request, on this machine alone."""
    if not hasattr(request.state, "actor"):
        refuse_two_credentials(request)
        request.state.actor = await current_actor(request)
    return cast(Actor, request.state.actor)


async def signed_in_or_program(request: Request, family: str) -> None:
    """Let in who is signed in, or a program by its token.

    Reading needs the scope `<family>:read`, anything else `<family>:write`.
    """
    if bears_token(request):
        kind = "read" if request.method in SAFE_METHODS else "write"
        request.state.actor = await program(request, f"{family}:{kind}")
    await signed_in(request)


async def live_user(request: Request) -> SessionUser:
    """Return the user as the tables know him at this moment."""
    actor = await signed_in(request)
    sessions: Sessions = request.app.state.sessions
    user = await sessions.user_of(actor)
    if user is None:
        raise SessionRevoked()
    return user


def require(needed: Role) -> Callable[[Request], Awaitable[SessionUser]]:
    """Make a dependency that lets a role, and those above it, in."""

    async def allowed(request: Request) -> SessionUser:
        user = await live_user(request)
        if user.role not in set(Role) or not Role(user.role).covers(needed):
            raise RoleNotAllowed(f"This needs the role {needed.value}; yours is {user.role}.")
        return user

    return allowed
