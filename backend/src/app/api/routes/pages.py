"""The sign-in page, open to everybody."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import HTMLResponse

from app.api.routing import StrictRoute
from app.auth.login_page import PAGE_HEADERS, assets, login_page
from app.core.errors import NotFound

# Pages are for browsers: the description of the API leaves them out.
router = APIRouter(prefix="/auth", route_class=StrictRoute, include_in_schema=False)

Wanted = Annotated[str, Query(alias="next")]
Site = Annotated[str, Header(alias="Sec-Fetch-Site")]


@router.get("/login")
async def login(next_: Wanted = "/", signout: str = "", site: Site = "none") -> HTMLResponse:
    """Takes a living session into use, or asks for a password; `signout=1` ends it first."""
    return _page(next_, signing_out=signout == "1", site=site)


@router.get("/logout")
async def logout(site: Site = "none") -> HTMLResponse:
    """Ends the session and lands on the form."""
    return _page("/", signing_out=True, site=site)


def _page(wanted: str, *, signing_out: bool, site: str) -> HTMLResponse:
    # A link on another site must not end a session.
    ours = site in ("same-origin", "none")
    page = login_page(wanted=wanted, signing_out=signing_out and ours)
    return HTMLResponse(page, headers=PAGE_HEADERS)


@router.get("/login/{name}")
async def asset(name: str, request: Request, v: str = "") -> Response:
    """A part of the sign-in page."""
    found = assets().get(name)
    if found is None:
        raise NotFound()
    headers = found.headers(v)
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
