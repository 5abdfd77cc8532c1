"""Side effect: QuantConnect. Its API v2 as an operator needs it: projects, compiles, deployments.

What goes wrong is one of these, each with a sentence for a person:

    QuantConnectError
    ├── QuantConnectRefused      it was understood and not done
    ├── QuantConnectAuthFailed   who we are is not believed; nothing was done
    ├── QuantConnectUnreached    the request did not go out; nothing was done
    └── QuantConnectUnclear      nobody knows whether it was done
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx

from app.services.broker import OutcomeKind
from app.services.qc_client import NOT_SENT_ERRORS, auth_headers, outcome_of

Json = dict[str, Any]

ANSWER_MAX = 16 * 1024 * 1024
RETRY_S = (0.5, 1.0, 2.0)
THROTTLED_MAX_S = 60.0


class QuantConnectError(Exception):
    """QuantConnect did not do what was asked."""


class QuantConnectRefused(QuantConnectError):
    """It was understood and not done."""


class QuantConnectAuthFailed(QuantConnectError):
    """Who we are is not believed; nothing was done."""


class QuantConnectUnreached(QuantConnectError):
    """The request did not go out; nothing was done."""


class QuantConnectUnclear(QuantConnectError):
    """Nobody knows whether it was done."""


class Endpoint(NamedTuple):
    """What a request must name, and whether doing it twice is the same as once."""

    required: tuple[str, ...]
    repeatable: bool = True


_PROJECT, _ORGANIZATION = ("projectId",), ("organizationId",)
_FILE, _COMPILE = (*_PROJECT, "name"), (*_PROJECT, "compileId")
_BACKTEST, _PAGE = (*_PROJECT, "backtestId"), ("start", "end")
ENDPOINTS: Mapping[str, Endpoint] = {
    "authenticate": Endpoint(()),
    "projects/create": Endpoint(("name", "language"), repeatable=False),
    "projects/read": Endpoint(()),
    "projects/update": Endpoint(_PROJECT),
    "projects/delete": Endpoint(_PROJECT),
    "projects/nodes/read": Endpoint(_PROJECT),
    "files/create": Endpoint((*_FILE, "content"), repeatable=False),
    "files/read": Endpoint(_PROJECT),
    "files/update": Endpoint(_FILE),
    "files/delete": Endpoint(_FILE),
    "compile/create": Endpoint(_PROJECT),
    "compile/read": Endpoint(_COMPILE),
    "backtests/create": Endpoint((*_COMPILE, "backtestName"), repeatable=False),
    "backtests/read": Endpoint(_BACKTEST),
    "backtests/list": Endpoint(_PROJECT),
    "backtests/update": Endpoint(_BACKTEST),
    "backtests/delete": Endpoint(_BACKTEST),
    "backtests/orders/read": Endpoint((*_BACKTEST, *_PAGE)),
    "backtests/chart/read": Endpoint((*_BACKTEST, *_PAGE, "name", "count")),
    "backtests/insights/read": Endpoint((*_BACKTEST, *_PAGE)),
    "live/create": Endpoint(
        (*_COMPILE, "nodeId", "versionId", "brokerage", "dataProviders"), repeatable=False
    ),
    "live/read": Endpoint(_PROJECT),
    "live/list": Endpoint(()),
    "live/update/stop": Endpoint(_PROJECT),
    "live/update/liquidate": Endpoint(_PROJECT),
    "live/commands/create": Endpoint((*_PROJECT, "command"), repeatable=False),
    "live/commands/broadcast": Endpoint((*_ORGANIZATION, "command"), repeatable=False),
    "live/orders/read": Endpoint((*_PROJECT, *_PAGE)),
    "live/portfolio/read": Endpoint(_PROJECT),
    "live/logs/read": Endpoint((*_PROJECT, "algorithmId", "format", "startLine", "endLine")),
    "live/chart/read": Endpoint((*_PROJECT, *_PAGE, "name", "count")),
    "live/insights/read": Endpoint((*_PROJECT, *_PAGE)),
    "object/properties": Endpoint((*_ORGANIZATION, "key")),
    "object/list": Endpoint((*_ORGANIZATION, "path")),
    "object/get": Endpoint(_ORGANIZATION),
    "object/delete": Endpoint((*_ORGANIZATION, "key")),
}


class QuantConnectApi:
    """Calls by name; what may be repeated is repeated when in doubt, nothing else ever."""

    def __init__(
        self, *, url: str, user_id: str, token: str, timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._user_id, self._token = user_id, token
        # Proxies and redirects would carry our token to places nobody named.
        self._client = httpx.Client(
            base_url=url.rstrip("/") + "/", timeout=httpx.Timeout(timeout_s, connect=10.0),
            trust_env=False, follow_redirects=False, transport=transport,
        )  # fmt: skip

    @property
    def host(self) -> str:
        """Where QuantConnect is."""
        return self._client.base_url.host

    def close(self) -> None:
        """Give back connections."""
        self._client.close()

    def call(self, endpoint: str, **fields: Any) -> Json:
        """Do one thing and return the answer; raises a QuantConnectError."""
        known = ENDPOINTS[endpoint]
        missing = [name for name in known.required if name not in fields]
        if missing:
            raise ValueError(f"{endpoint} needs {', '.join(missing)}")
        for wait_s in RETRY_S:
            try:
                return self._attempt(endpoint, fields)
            except QuantConnectUnreached:
                time.sleep(wait_s)
            except QuantConnectUnclear:
                if not known.repeatable:
                    raise
                time.sleep(wait_s)
            except _Throttled as throttled:
                time.sleep(throttled.seconds)
        try:
            return self._attempt(endpoint, fields)
        except _Throttled as throttled:
            raise QuantConnectRefused(f"{endpoint}: too many requests; try later") from throttled

    def pages(
        self, endpoint: str, key: str, *, size: int, start: str = "start", end: str = "end",
        **fields: Any,
    ) -> Iterator[Any]:  # fmt: skip
        """Read all rows of a paged endpoint, page by page."""
        first = 0
        while True:
            answer = self.call(endpoint, **{start: first, end: first + size}, **fields)
            rows = answer.get(key) or []
            yield from rows
            first += size
            if len(rows) < size or first >= int(answer.get("length", first)):
                return

    def _attempt(self, endpoint: str, fields: Json) -> Json:
        headers = auth_headers(self._user_id, self._token)
        try:
            with self._client.stream("POST", endpoint, json=fields, headers=headers) as response:
                answer = _read(response)
        except NOT_SENT_ERRORS as error:
            raise QuantConnectUnreached(
                f"{self._client.base_url} is not reached ({type(error).__name__})"
            ) from error
        except httpx.HTTPError as error:
            raise QuantConnectUnclear(f"{endpoint}: {type(error).__name__}") from error
        outcome = outcome_of(response.status_code, response.headers, answer)
        if outcome.kind is OutcomeKind.ACCEPTED:
            found: Json = json.loads(answer)
            return found
        reason = f"{endpoint}: {outcome.reason}"
        if outcome.kind is OutcomeKind.AUTH:
            raise QuantConnectAuthFailed(reason)
        if outcome.kind is OutcomeKind.THROTTLED:
            raise _Throttled(min(outcome.retry_after_s or 2.0, THROTTLED_MAX_S))
        if outcome.kind is OutcomeKind.DEFINITE_REJECT:
            raise QuantConnectRefused(reason)
        raise QuantConnectUnclear(reason)


class _Throttled(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def _read(response: httpx.Response) -> bytes:
    answer = b""
    for chunk in response.iter_bytes():
        answer += chunk
        if len(answer) > ANSWER_MAX:
            raise QuantConnectUnclear("the answer is too large")
    return answer
