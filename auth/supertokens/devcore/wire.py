"""Calls of the core driver interface 5.4, read as strictly as the real core reads them."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.requests import Request

BODY_BYTES_MAX = 1_048_576
OK = {"status": "OK"}
Answer = dict[str, Any]


class BadRequest(Exception):
    """Answered with 400 and this text."""


class Call(NamedTuple):
    """The values a call carries, in its JSON body or in its query."""

    values: Mapping[str, Any]
    in_query: bool

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        return str(value) if storable(value) else self._refuse(name)

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name, default)
        return value if isinstance(value, bool) else self._refuse(name)

    def mapping(self, name: str) -> Answer:
        value = self.values.get(name)
        plain = json.dumps(value, ensure_ascii=False).replace("\\u0000", "\x00")
        return value if isinstance(value, dict) and storable(plain) else self._refuse(name)

    def texts(self, name: str) -> list[str]:
        value = self.values.get(name)
        fits = isinstance(value, list) and all(map(storable, value))
        return list(value or ()) if fits else self._refuse(name)

    def _refuse(self, name: str) -> Any:
        where = "is missing in GET request" if self.in_query else "is invalid in JSON input"
        raise BadRequest(f"Field name '{name}' {where}")


def storable(text: object) -> bool:
    """Say whether Postgres takes it: no NUL and, as UTF-8 asks, no lone surrogate."""
    try:
        return isinstance(text, str) and b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


async def read(request: Request) -> Call:
    """Read the query of GET and DELETE, the body of POST and PUT."""
    if request.method in ("GET", "DELETE"):
        return Call(request.query_params, in_query=True)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise BadRequest("The body is too large")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise BadRequest("Invalid Json Input")
    return Call(values, in_query=False)
