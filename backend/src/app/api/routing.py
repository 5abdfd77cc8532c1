"""Route classes: strict JSON everywhere, and a session before the body is even read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response

from app.api.openapi import problems
from app.auth.rbac import signed_in, signed_in_or_program
from app.core.errors import (
    CsrfRejected,
    DatabaseUnavailable,
    JsonMalformed,
    ServiceTokenInvalid,
    UnsupportedMediaType,
    ValidationFailed,
)
from app.core.errors_tokens import (
    CredentialsDoubled,
    ScopeNotAllowed,
    ServiceTokenExpired,
    ServiceTokenRevoked,
)
from app.core.security import SessionExpired, SessionRequired
from app.core.strict_json import parse_strict_json


class OrderIdConvertor(StringConvertor):
    """What may stand where an order's id belongs: not the name of another route."""

    regex = r"(?!(?:batch|cancel-all|preview)$)[^/]+"


# Else a method that such a route does not take would look like an odd order id.
register_url_convertor("order_id", OrderIdConvertor())

# As the description says it: a session, or a service token.
BY_BOTH: list[dict[str, list[str]]] = [{"session": []}, {"service_token": []}]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRequest(Request):
    """A request whose body was parsed strictly before anything looked at it."""

    async def read_json(self) -> None:
        """Parse the body, whatever FastAPI would have made of it."""
        body = await self.body()
        if not body:
            return
        if not is_json(self.headers.get("content-type", "")):
            raise UnsupportedMediaType()
        self._json = parse_strict_json(body)


def is_json(content_type: str) -> bool:
    """Say whether a content type is JSON in UTF-8."""
    kind, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace('"', "").replace(" ", "")
    return kind.strip() == "application/json" and charset in ("", "charset=utf-8")


class StrictRoute(APIRoute):
    """A route that anybody may call; what it takes as JSON is parsed strictly."""

    async def admit(self, request: Request) -> None:
        """Refuse before the body is read."""

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            await self.admit(request)
            strict = StrictRequest(request.scope, request.receive)
            if self.body_field is not None:
                await strict.read_json()
            return await handler(strict)

        return handle


class SessionRoute(StrictRoute):
    """A route behind a session: without one, nothing is read and nothing is told."""

    async def admit(self, request: Request) -> None:
        """Verify the session."""
        await signed_in(request)


def program_route(family: str) -> type[SessionRoute]:
    """Make a class of routes that service tokens open as well, by the scopes of this family."""

    class ProgramRoute(SessionRoute):
        def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
            more["openapi_extra"] = {**(more.get("openapi_extra") or {}), "security": BY_BOTH}
            super().__init__(path, endpoint, **more)

        async def admit(self, request: Request) -> None:
            await signed_in_or_program(request, family)

    return ProgramRoute


PROGRAM_REFUSALS = (
    CredentialsDoubled,
    ServiceTokenInvalid,
    ServiceTokenRevoked,
    ServiceTokenExpired,
    ScopeNotAllowed,
)


def session_router(prefix: str, tag: str, *, family: str | None = None) -> APIRouter:
    """Make a router whose every route needs a session; with a family, a service token will do."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=SessionRoute if family is None else program_route(family),
        dependencies=[Depends(signed_in)],
        responses=problems(
            SessionRequired,
            SessionExpired,
            CsrfRejected,
            JsonMalformed,
            UnsupportedMediaType,
            ValidationFailed,
            DatabaseUnavailable,
            *(() if family is None else PROGRAM_REFUSALS),
        ),
    )
