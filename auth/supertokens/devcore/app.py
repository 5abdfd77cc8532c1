"""The development core as an ASGI application: who may ask, which call it is, what goes wrong."""

import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from devcore import people, sessions
from devcore.core import HANDLERS, Busy, Core, Passwords, handles
from devcore.keys import KeyRing, as_jwk
from devcore.settings import Settings
from devcore.store import open_store
from devcore.tokens import Tokens
from devcore.wire import OK, Answer, BadRequest, Call, read

VERSION = "5.4"
RECIPES = (people, sessions)
METHODS = ["GET", "POST", "PUT", "DELETE"]
# The API recognizes this core by it, and refuses it in production.
HELLO = "Hello from devcore, the stand-in for SuperTokens Core. Not for production.\n"
PASSING = (Busy, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
log = logging.getLogger("devcore")


@handles("GET", "/apiversion")
async def versions(core: Core, call: Call) -> Answer:
    return {"versions": [VERSION]}


@handles("GET", "/recipe/multitenancy/tenant/v2")
async def tenant(core: Core, call: Call) -> Answer:
    return OK | {"tenantId": "public", "thirdParty": {"providers": []}, "coreConfig": {}}


async def hello(request: Request) -> Response:
    await request.app.state.core.store.rows("SELECT")
    return PlainTextResponse(HELLO)


async def jwks(request: Request) -> Response:
    keys = [as_jwk(key) for key in (await request.app.state.core.keys.known()).values()]
    return JSONResponse({"keys": keys}, headers={"Cache-Control": "max-age=60, must-revalidate"})


async def answer(request: Request) -> Response:
    """Answer one call; what is wrong with it is said as the real core says it."""
    core: Core = request.app.state.core
    key = request.headers.get("api-key", "").encode()
    if not hmac.compare_digest(key, core.settings.core_api_key.encode()):
        return PlainTextResponse("Invalid API key\n", 401)
    try:
        if request.headers.get("cdi-version", VERSION) != VERSION:
            raise BadRequest(f"cdi-version {request.headers['cdi-version']} not supported")
        handler = HANDLERS.get((request.method, request.url.path.removeprefix("/public")))
        if handler is None:
            return PlainTextResponse("Not found\n", 404)
        return JSONResponse(await handler(core, await read(request)))
    except (BadRequest, asyncpg.DataError) as error:
        return PlainTextResponse(f"{error}\n", 400)


async def answer_unavailable(request: Request, error: Exception) -> Response:
    log.error("%s %s: %r", request.method, request.url.path, error)
    return PlainTextResponse("Internal Error\n", 503, {"Retry-After": "1"})


def create_app(settings: Settings) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        store = await open_store(settings)
        keys = KeyRing(store, settings)
        tokens = Tokens(keys, settings)
        app.state.core = Core(settings, store, keys, tokens, Passwords())
        await keys.known()
        yield
        store.pool.terminate()

    open_to_all = [Route("/hello", hello), Route("/.well-known/jwks.json", jwks)]
    everything = Route("/{path:path}", answer, methods=METHODS)
    return Starlette(
        routes=[*open_to_all, everything],
        lifespan=lifespan,
        exception_handlers=dict.fromkeys(PASSING, answer_unavailable),
    )
