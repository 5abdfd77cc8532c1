"""The SuperTokens SDK, set up our way, and what every request passes before it.

Only the addresses in `SDK_ROUTES` reach the SDK; the others it would serve are not there at all.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import supertokens_python
from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from supertokens_python.framework import BaseRequest, BaseResponse
from supertokens_python.framework.fastapi import get_middleware
from supertokens_python.ingredients.emaildelivery.types import (
    EmailDeliveryConfig,
    EmailDeliveryInterface,
)
from supertokens_python.normalised_url_path import NormalisedURLPath
from supertokens_python.recipe import emailpassword, session, usermetadata, userroles
from supertokens_python.recipe.emailpassword.types import EmailTemplateVars

from app.auth.csrf import AUTH_PREFIX, check_origin
from app.auth.mirror import Mirror
from app.auth.overrides import Overrides
from app.auth.signin_limit import SigninLimit
from app.core.errors import AppError, JsonMalformed, Unavailable, ValidationFailed
from app.core.logging import get_logger
from app.core.problems import MEDIA_TYPE, problem_response
from app.core.security import (
    ACCESS_COOKIE,
    SessionExpired,
    SessionRequired,
    VerifiedTokens,
    session_key_of,
)
from app.core.settings import Settings
from app.services import core_client
from app.services.core_client import CoreClient

log = get_logger(__name__)

FORM_ROUTES = {("POST", "/auth/signin"), ("POST", "/auth/user/password/reset")}
# Asking for a reset mail is not among them: no mail is sent, and the SDK's default would send
# through a foreign host. Its own switch for that closes the reset itself as well.
SDK_ROUTES = FORM_ROUTES | {
    ("POST", "/auth/session/refresh"),
    ("POST", "/auth/signout"),
    ("GET", "/auth/jwt/jwks.json"),
}
FORM_BYTES_MAX = 16 * 1024
JWKS_CACHED_FOREVER_S = 10 * 365 * 86_400


class MailMissing(Unavailable):
    """Mail is not configured."""

    code = "mail_not_configured"
    remedy = "Ask an administrator to set a new password."


class _NoMail(EmailDeliveryInterface[EmailTemplateVars]):
    """Refuses to send: the SDK's default would hand the address and the link to a foreign host."""

    async def send_email(
        self, template_vars: EmailTemplateVars, user_context: dict[str, Any]
    ) -> None:
        raise MailMissing()


class Identity:
    """What the process-wide SDK was set up with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.mirror = Mirror()
        self.client = CoreClient(settings)
        self.limit = SigninLimit(settings.signin_limit_per_minute)


_identity: Identity | None = None


class AlreadySetUp(RuntimeError):
    """The SDK is one per process and was set up for another core or another address."""


def init_supertokens(settings: Settings) -> Identity:
    """Set the SDK up, once per process; safe to repeat with the same settings."""
    global _identity  # noqa: PLW0603 - the SDK is one per process
    if _identity is not None:
        _refuse_other(_identity.settings, settings)
        return _identity
    identity = Identity(settings)
    core_client.use(identity.client)
    supertokens_python.init(
        app_info=supertokens_python.InputAppInfo(
            app_name="Informania",
            api_domain=settings.public_url,
            website_domain=settings.public_url,
            api_base_path=AUTH_PREFIX,
            website_base_path=AUTH_PREFIX,
        ),
        supertokens_config=supertokens_python.SupertokensConfig(
            connection_uri=settings.supertokens_uri, api_key=settings.secret("core_api_key")
        ),
        framework="fastapi",
        recipe_list=_recipes(settings, Overrides(identity.mirror, identity.limit)),
        mode="asgi",
        telemetry=False,
    )
    _identity = identity
    return identity


def forget() -> None:
    """Let `init_supertokens` start anew; tests reset the SDK as well."""
    global _identity  # noqa: PLW0603 - the SDK is one per process
    _identity = None


def _refuse_other(had: Settings, wanted: Settings) -> None:
    for field in ("supertokens_uri", "public_url", "core_api_key"):
        if getattr(had, field) != getattr(wanted, field):
            raise AlreadySetUp(f"{field} differs from what this process was set up with.")


def _recipes(settings: Settings, overrides: Overrides) -> list[Any]:
    return [
        emailpassword.init(
            override=emailpassword.EmailPasswordOverrideConfig(
                apis=overrides.password_apis, functions=overrides.passwords
            ),
            email_delivery=EmailDeliveryConfig(service=_NoMail()),
        ),
        session.init(
            cookie_secure=settings.public_url.startswith("https://"),
            cookie_same_site="lax",
            anti_csrf="VIA_CUSTOM_HEADER",
            get_token_transfer_method=lambda *_: "cookie",
            error_handlers=session.InputErrorHandlers(
                on_unauthorised=_unauthorised,
                on_try_refresh_token=_try_refresh,
                on_token_theft_detected=_theft,
            ),
            override=session.SessionOverrideConfig(functions=overrides.sessions),
            # The SDK's own cache is not used: the keys are in `core_client`.
            jwks_refresh_interval_sec=JWKS_CACHED_FOREVER_S,
        ),
        userroles.init(
            # The role that counts is the one in our tables, never one in an old token.
            skip_adding_roles_to_access_token=True,
            skip_adding_permissions_to_access_token=True,
            override=userroles.UserRolesOverrideConfig(functions=overrides.roles),
        ),
        usermetadata.init(
            override=usermetadata.UserMetadataOverrideConfig(functions=overrides.metadata)
        ),
    ]


async def _unauthorised(request: BaseRequest, _: str, response: BaseResponse) -> BaseResponse:
    return _problem(request, response, SessionRequired())


async def _try_refresh(request: BaseRequest, _: str, response: BaseResponse) -> BaseResponse:
    return _problem(request, response, SessionExpired())


async def _theft(
    request: BaseRequest, handle: str, user_id: str, _: Any, response: BaseResponse
) -> BaseResponse:
    # The session ended where the theft was noticed: in the override of refresh_session.
    return _problem(request, response, SessionRequired())


def _problem(request: BaseRequest, response: BaseResponse, error: AppError) -> BaseResponse:
    response.set_status_code(int(error.status))
    response.set_json_content(error.problem(request.get_path()))
    response.set_header("Content-Type", MEDIA_TYPE)
    return response


def install(app: FastAPI, settings: Settings) -> None:
    """Put the identity gate before the routes, and its connection into the lifespan."""
    identity = init_supertokens(settings)
    identity.limit.start_anew(settings.signin_limit_per_minute)
    app.state.verified_tokens = VerifiedTokens()
    app.add_middleware(IdentityGate, identity=identity, verified=app.state.verified_tokens)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(started: FastAPI) -> AsyncIterator[Any]:
        async with running(identity), inner(started) as state:
            identity.mirror.bind(started.state.database)
            yield state

    app.router.lifespan_context = lifespan


@asynccontextmanager
async def running(identity: Identity) -> AsyncIterator[None]:
    """Keep the connection to the core open, and the keys fresh, until the end."""
    await identity.client.start()
    try:
        yield
    finally:
        identity.mirror.bind(None)
        await identity.client.close()


class IdentityGate:
    """Refuses what another site sent, makes sure keys are known, then asks the SDK."""

    def __init__(self, app: ASGIApp, identity: Identity, verified: VerifiedTokens) -> None:
        self._app = app
        self._identity = identity
        self._verified = verified
        self._sdk: ASGIApp = get_middleware()(app)  # type: ignore[no-untyped-call]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Started(send)
        try:
            check_origin(scope, self._identity.settings.public_url)
            token = Request(scope).cookies.get(ACCESS_COOKIE, "")
            known = self._verified.actor_of(token, datetime.now(UTC)) is not None
            if not known:
                await self._know_key(token)
            target, scope, receive = await self._route(scope, receive, known=known)
            await target(scope, receive, answer.send)
        except AppError as error:
            if answer.started:
                raise
            await problem_response(error, scope["path"])(scope, receive, send)

    async def _know_key(self, token: str) -> None:
        key_id = session_key_of(token)
        if key_id is not None:
            await self._identity.client.keys.ensure(key_id)

    async def _route(
        self, scope: Scope, receive: Receive, *, known: bool
    ) -> tuple[ASGIApp, Scope, Receive]:
        route = (scope["method"], scope["path"])
        if route in FORM_ROUTES:
            receive = await _checked_form(receive)
            # Signing in starts from nothing: what a browser still holds can only get in the way.
            return self._sdk, _without_session(scope), receive
        # Around our own routes the SDK only writes what a session has become by being verified.
        if route in SDK_ROUTES or not (known or _sdk_would_answer(scope["path"])):
            return self._sdk, scope, receive
        return self._app, scope, receive


class _Started:
    """Remembers whether the answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        self.started = True
        await self._send(message)


def _sdk_would_answer(path: str) -> bool:
    # Its idea of a path is wider than ours: it takes whole addresses and drops parameters.
    return AUTH_PREFIX in path and NormalisedURLPath(path).startswith(
        NormalisedURLPath(AUTH_PREFIX)
    )


def _without_session(scope: Scope) -> Scope:
    dropped = (b"cookie", b"authorization")
    kept = [(name, value) for name, value in scope["headers"] if name not in dropped]
    return {**scope, "headers": kept}


async def _checked_form(receive: Receive) -> Receive:
    """Read a form of the SDK and refuse what it would stumble over; hand the same bytes on."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > FORM_BYTES_MAX:
            raise ValidationFailed("The form is too long.")
    _check_form(body)
    handed_over = False

    async def again() -> Message:
        nonlocal handed_over
        if handed_over:
            return await receive()
        handed_over = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _check_form(body: bytes) -> None:
    try:
        form = json.loads(body)
        json.dumps(form, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise JsonMalformed() from error
    fields = form.get("formFields") if isinstance(form, dict) else None
    fits = isinstance(fields, list) and all(_is_field(field) for field in fields)
    if not fits or not _is_text(form.get("token", "")):
        raise ValidationFailed(errors=[{"loc": ["body", "formFields"], "type": "form_fields"}])


def _is_field(field: object) -> bool:
    return isinstance(field, dict) and _is_text(field.get("id")) and _is_text(field.get("value"))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\x00" not in value
