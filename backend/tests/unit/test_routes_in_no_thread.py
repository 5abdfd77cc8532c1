"""No route of the API waits for a thread, in which FastAPI runs whatever is not `async`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from app.api.routes import health
from app.main import ROUTERS


def calls_of(*routers: APIRouter) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield what a request to each route calls, with the route's path."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for call in _calls(route.dependant):
                    yield route.path, call


def _calls(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    if dependant.call is not None:
        yield dependant.call
    for needed in dependant.dependencies:
        yield from _calls(needed)


def threaded(*routers: APIRouter) -> set[tuple[str, str]]:
    """Name what would run in a thread."""
    return {
        (path, call.__name__)
        for path, call in calls_of(*routers)
        if not inspect.iscoroutinefunction(call) and not inspect.isasyncgenfunction(call)
    }


def test_nothing_that_a_request_calls_runs_in_a_thread() -> None:
    routers = [health.router, *(router for some in ROUTERS.values() for router in some)]
    names = {call.__name__ for _, call in calls_of(*routers)}

    assert {"place_order", "signed_in", "idempotency_key", "live_user"} <= names
    assert threaded(*routers) == set()


def test_a_plain_function_would_be_found_wherever_it_stands() -> None:
    router = APIRouter()

    def inner() -> int:
        return 1

    async def outer(number: int = Depends(inner)) -> int:
        return number

    @router.get("/deep")
    async def deep(number: int = Depends(outer)) -> int:
        return number

    @router.get("/plain")
    def plain() -> int:
        return 1

    assert threaded(router) == {("/deep", "inner"), ("/plain", "plain")}
