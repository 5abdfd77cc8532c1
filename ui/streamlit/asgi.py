"""The composition root of the screen: Streamlit behind its session gate, served by uvicorn.

uvicorn asgi:app --app-dir ui/streamlit
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import streamlit as st
from gate.housekeeping import collect_garbage, warm_up
from gate.options import apply_options
from gate.session_gate import SessionGate
from gate.sessions import Sessions
from gate.sockets import Sockets
from gate.vault import get_vault
from gate.watcher import Watcher
from services import api_client, database
from services.logs import configure_logging, get_logger
from services.settings import Settings, get_settings
from starlette.middleware import Middleware
from streamlit.runtime.pages_manager import PagesManager

log = get_logger(__name__)

SCRIPT = Path(__file__).resolve().with_name("app.py")


def create_app(settings: Settings) -> st.App:
    """Build the application; nothing is opened before its lifespan starts."""
    configure_logging()
    sessions = Sessions(settings.api_url, settings.secret("worker_token"))
    sockets = Sockets()
    watcher = Watcher(sessions, sockets, get_vault())

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        await asyncio.to_thread(warm_up)
        async with sessions, asyncio.TaskGroup() as background:
            tasks = [background.create_task(work) for work in (watcher.run(), collect_garbage())]
            log.info("streamlit_started")
            yield
            for task in tasks:
                task.cancel()
        await asyncio.to_thread(_close)

    gate = Middleware(
        SessionGate,
        sessions=sessions,
        sockets=sockets,
        vault=get_vault(),
        proxy_secret=settings.secret("proxy_secret"),
        public_url=settings.public_url,
    )
    # Else the first visit of a fresh process, when it is to a page, runs that page without app.py.
    PagesManager.uses_pages_directory = False
    built = st.App(SCRIPT, lifespan=lifespan, middleware=[gate], on_script_error=report_error)
    apply_options(settings)
    return built


def report_error(error: Exception) -> bool:
    """Log what a page stumbled over; the user sees an id, never the inside of the page."""
    error_id = uuid4().hex[:12]
    log.error("page_failed", exc_info=error, extra={"error_id": error_id})
    st.error(
        f"This page could not be shown. Reload it; if that fails, tell an administrator {error_id}."
    )
    return True


def _close() -> None:
    database.close()
    api_client.close()


app = create_app(get_settings())
