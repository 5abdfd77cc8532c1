"""The composition root of the API: what exists, in which order it opens and closes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI
from starlette.responses import JSONResponse

from app.api.middleware import BodyLimit, RequestContext
from app.api.openapi import describe
from app.api.routes import (
    admin,
    admin_import,
    admin_lists,
    admin_operations,
    admin_tokens,
    audit,
    data,
    data_bars,
    health,
    internal,
    lmdb,
    notifications,
    order_preview,
    order_status,
    orders,
    pages,
    session,
    trading,
    webhooks,
)
from app.auth import supertokens_middleware
from app.auth.rbac import signed_in
from app.core.logging import configure_logging, get_logger
from app.core.problems import install_problem_handlers
from app.core.settings import ApiRole, AppEnv, Settings, get_settings
from app.services.db import Database, create_engine
from app.services.hot_quotes import HotQuotes
from app.services.lmdb_actor import LmdbActor
from app.services.lmdb_store import LmdbStore
from app.services.placements import Placements
from app.services.sessions import Sessions

log = get_logger(__name__)

DESCRIPTION = (
    "Owns every write of Informania. Numbers are JSON strings, errors are RFC 9457 problems with a "
    "stable code, and an order is placed once however often its Idempotency-Key is sent."
)
# Tried one after the other, so what is asked most often comes first.
ROUTERS = {
    ApiRole.API: (
        orders.router,
        webhooks.router,
        session.gate_router,
        session.router,
        pages.router,
        order_preview.router,
        order_status.router,
        trading.router,
        admin.router,
        admin_lists.router,
        admin_tokens.router,
        admin_operations.router,
        admin_import.router,
        audit.router,
        notifications.router,
        notifications.admin_router,
        data.router,
        data_bars.router,
        internal.router,
    ),
    ApiRole.HOT: (lmdb.router,),
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application of one process; nothing is opened before its lifespan starts."""
    settings = settings or get_settings()
    configure_logging(settings.log_level, "api")
    app = FastAPI(
        title="Informania",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=_lifespan,
        # Its pages load scripts from a foreign host; the document alone is served below.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A redirect would answer before the session was looked at.
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.hot_store_wanted = settings.api_role is not ApiRole.API
    app.state.database = Database(create_engine(settings, "app_write"))
    app.state.placements = Placements(
        app.state.database,
        batch_max=settings.place_batch_max,
        batch_wait_s=settings.place_batch_wait_ms / 1000,
        patience_s=settings.database_acquire_timeout_s,
    )
    app.state.sessions = Sessions(app.state.database)
    app.state.hot_quotes = HotQuotes(None, app.state.database)
    install_problem_handlers(app)
    _install_middleware(app, settings)
    _include_routes(app, settings)
    return app


def _install_middleware(app: FastAPI, settings: Settings) -> None:
    # The one that is added last is passed first.
    supertokens_middleware.init_supertokens(settings)
    supertokens_middleware.install(app, settings)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestContext)


def _include_routes(app: FastAPI, settings: Settings) -> None:
    app.include_router(health.router)
    for role, routers in ROUTERS.items():
        if settings.api_role in (role, ApiRole.ALL):
            for router in routers:
                app.include_router(router)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    if settings.app_env is not AppEnv.PRODUCTION:

        @app.get("/api/openapi.json", include_in_schema=False, dependencies=[Depends(signed_in)])
        async def openapi_document() -> JSONResponse:
            return JSONResponse(describe(app))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    database: Database = app.state.database
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        stack.push_async_callback(app.state.placements.close)
        if app.state.hot_store_wanted and settings.lmdb_dir is not None:
            await _open_hot_store(app, settings, settings.lmdb_dir, stack)
        log.info("api_started", api_role=settings.api_role, app_env=settings.app_env)
        yield
        log.info("api_stopping")


async def _open_hot_store(
    app: FastAPI, settings: Settings, folder: Path, stack: AsyncExitStack
) -> None:
    store = await asyncio.to_thread(
        LmdbStore, folder, settings.lmdb_library, tables=tuple(lmdb.TABLES)
    )
    actor = LmdbActor(store)
    await actor.start()
    stack.push_async_callback(actor.stop)
    app.state.hot_quotes = HotQuotes(actor, app.state.database)
    app.state.hot_quotes.start()
    stack.push_async_callback(app.state.hot_quotes.stop)
