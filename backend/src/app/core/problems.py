"""The one place where an error becomes an answer: application/problem+json of RFC 9457."""

import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from app.core.errors import (
    AppError,
    BadRequest,
    BodyTooLarge,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
    ValidationFailed,
)
from app.core.logging import get_logger

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
ERRORS_MAX = 20
INSTANCE_MAX = 200
BY_STATUS: dict[int, type[AppError]] = {
    HTTPStatus.BAD_REQUEST: BadRequest,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowed,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: BodyTooLarge,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: UnsupportedMediaType,
}


class ProblemResponse(JSONResponse):
    """A problem on the wire; nobody may store it."""

    media_type = MEDIA_TYPE


def problem_response(error: AppError, path: str | None = None) -> Response:
    """Answer with one problem; middleware uses it too."""
    instance = path[:INSTANCE_MAX].encode("ascii", "replace").decode() if path else None
    return ProblemResponse(
        error.problem(instance),
        status_code=error.status,
        headers={"Cache-Control": "no-store", **error.headers},
    )


def validation_failed(errors: Iterable[Any]) -> ValidationFailed:
    """Name the fields and what is wrong with them, never what they held."""
    named = [
        {"loc": [_safe(part) for part in error["loc"]], "type": error["type"]}
        for error in list(errors)[:ERRORS_MAX]
    ]
    return ValidationFailed(errors=named)


def _safe(part: object) -> str | int:
    # The name of an unknown field comes from the client: a lone surrogate has no encoding.
    return part if isinstance(part, int) else str(part)[:100].encode("ascii", "replace").decode()


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of this application a problem."""

    @app.exception_handler(AppError)
    async def expected(request: Request, error: AppError) -> Response:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("request_failed", code=error.code)
        return problem_response(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return problem_response(validation_failed(error.errors()), request.url.path)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        known = BY_STATUS.get(error.status_code)
        problem = known(headers=error.headers) if known else _unnamed(error)
        if isinstance(problem, MethodNotAllowed):
            problem.headers["Allow"] = ", ".join(_methods_of(request))
        return problem_response(problem, request.url.path)


def _methods_of(request: Request) -> list[str]:
    """Every method of this address: the router names those of the first route alone."""
    return sorted(
        method
        for context in iter_route_contexts(request.app.routes)
        if context.path and _pattern(context.path).match(request.scope["path"])
        for method in context.methods or ()
    )


@lru_cache(maxsize=500)
def _pattern(path: str) -> re.Pattern[str]:
    return compile_path(path)[0]


def _unnamed(error: HTTPException) -> AppError:
    """Keep the status of an error that a library raised and we have no name for."""
    problem = AppError(code=f"http_{error.status_code}", headers=error.headers)
    problem.status = HTTPStatus(error.status_code)
    return problem
