"""The API's description: every route with the problems it can answer."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.core.errors import AppError, BodyTooLarge, RequestTimeout
from app.core.problems import MEDIA_TYPE
from app.models.bridge import BridgeBatch
from app.models.dto import Problem
from app.models.series import Bars, Quotes

REF_TEMPLATE = "#/components/schemas/{model}"
PROBLEM_REF = {"$ref": REF_TEMPLATE.format(model="Problem")}
BATCH_REF = {"$ref": REF_TEMPLATE.format(model="BridgeBatch")}
BARS_REF = {"$ref": REF_TEMPLATE.format(model="Bars")}
QUOTES_REF = {"$ref": REF_TEMPLATE.format(model="Quotes")}
SECURITY_SCHEMES = {
    "session": {"type": "apiKey", "in": "cookie", "name": "sAccessToken"},
    "service_token": {"type": "http", "scheme": "bearer"},
}
Responses = dict[int | str, dict[str, Any]]


def problems(*kinds: type[AppError]) -> Responses:
    """Describe errors as responses, one example a code."""
    responses: Responses = {}
    for kind in kinds:
        status = int(kind.status)
        response = responses.setdefault(status, _response(kind))
        response["content"][MEDIA_TYPE]["examples"][kind.code] = {
            "summary": kind.title(),
            "value": kind().problem(),
        }
    return responses


def merged(*parts: Responses) -> Responses:
    """Join descriptions; examples of one status add up."""
    result: Responses = {}
    for part in parts:
        for status, response in part.items():
            known = result.setdefault(status, {**response, "content": {}})
            for media_type, content in response.get("content", {}).items():
                target = known["content"].setdefault(media_type, {**content, "examples": {}})
                target["examples"].update(content.get("examples", {}))
    return result


def _response(kind: type[AppError]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": kind.status.phrase,
        "content": {MEDIA_TYPE: {"schema": PROBLEM_REF, "examples": {}}},
    }
    if kind.status == 503:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return response


def describe(app: FastAPI) -> dict[str, Any]:
    """Build the document once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_own_schemas())
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in document["paths"].values():
            for operation in path.values():
                _complete(operation)
                _secure(operation)
        app.openapi_schema = document
    return app.openapi_schema


def _own_schemas() -> dict[str, Any]:
    """Describe what no endpoint takes or returns by its signature."""
    _, document = models_json_schema(
        [(model, "validation") for model in (Problem, BridgeBatch, Bars, Quotes)],
        ref_template=REF_TEMPLATE,
    )
    definitions: dict[str, Any] = document["$defs"]
    return definitions


def _complete(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "requestBody" in operation:
        for status, response in problems(BodyTooLarge, RequestTimeout).items():
            responses.setdefault(str(status), response)
    # FastAPI's own description of a validation error is not what we send.
    responses.get("422", {}).get("content", {}).pop("application/json", None)


def _secure(operation: dict[str, Any]) -> None:
    schemes = {"session": "session_required", "service_token": "service_token_expired"}
    refused = operation["responses"].get("401", {}).get("content", {}).get(MEDIA_TYPE, {})
    security: list[dict[str, list[str]]] = [
        {scheme: []} for scheme, code in schemes.items() if code in refused.get("examples", {})
    ]
    if security:
        operation.setdefault("security", security)
