"""Our connection to SuperTokens Core; side effect: HTTP to the core.

The SDK opens an HTTP client for every call, which loads all certificates of the machine each time
(27 to 45 ms of CPU), and fetches the signing keys with a blocking request in the middle of whatever
request needs them first. Both are replaced here, until the SDK does it itself
(supertokens-python#650): one client that stays open, and keys that are kept fresh in the
background.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import httpx
import jwt
from supertokens_python.constants import VERSION
from supertokens_python.querier import Querier
from supertokens_python.recipe.session import access_token, jwks

from app.core.errors import IdentityUnavailable
from app.core.logging import get_logger
from app.core.settings import AppEnv, Settings

log = get_logger(__name__)

SDK_VERSION = "0.31.4"
DEVCORE_MARK = "devcore"
TIMEOUT = httpx.Timeout(5.0, connect=2.0, pool=2.0)
# Below the 20 s after which the core closes an idle connection.
LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=10.0)
KEYS_FRESH_S = 60.0
KEYS_RETRY_S = 1.0
SESSION_KEY_PREFIX = "d-"


class SdkChanged(RuntimeError):
    """The installed SDK is not the one that our replacements were written for."""


class DevcoreRefused(IdentityUnavailable):
    """The identity service is the development core, which production refuses."""

    code = "identity_unavailable"
    remedy = "Point SUPERTOKENS_URI at supertokens/supertokens-postgresql."


class SigningKeys:
    """The public keys of sessions, by name."""

    def __init__(self, fetch: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._fetch = fetch
        self._keys: dict[str, jwt.PyJWK] = {}
        self._lock = asyncio.Lock()
        self._tried_at = float("-inf")

    @property
    def warm(self) -> bool:
        """Say whether sessions can be verified."""
        return bool(self._keys)

    def get(self, key_id: str | None) -> jwt.PyJWK:
        """Return a key without asking anybody."""
        if not self._keys:
            raise IdentityUnavailable()
        if key_id is None or key_id not in self._keys:
            raise LookupError("unknown signing key")
        return self._keys[key_id]

    async def ensure(self, key_id: str) -> None:
        """Ask the core for a key we do not know yet; however many ask, once a second."""
        if key_id in self._keys or (self._keys and not key_id.startswith(SESSION_KEY_PREFIX)):
            return
        async with self._lock:
            if key_id not in self._keys and monotonic() - self._tried_at >= KEYS_RETRY_S:
                await self._refresh()
        if not self._keys:
            raise IdentityUnavailable()

    async def refresh(self) -> None:
        """Read all keys anew."""
        async with self._lock:
            await self._refresh()

    async def _refresh(self) -> None:
        self._tried_at = monotonic()
        document = await self._fetch()
        usable = [key for key in document.get("keys", ()) if _signs_sessions(key)]
        if not usable:
            raise IdentityUnavailable("The core publishes no key that signs sessions.")
        self._keys = {key["kid"]: jwt.PyJWK(key, algorithm="RS256") for key in usable}


class CoreClient:
    """The one HTTP client of this process for the core, and the keys read through it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._accepted = False
        self._watch: asyncio.Task[None] | None = None
        self.keys = SigningKeys(self._fetch_keys)

    async def start(self) -> None:
        """Warm the keys when the core is there, and keep them fresh from now on."""
        with contextlib.suppress(IdentityUnavailable):
            await self.keys.refresh()
        self._watch = asyncio.create_task(self._keep_fresh(), name="signing-keys")

    async def close(self) -> None:
        """Stop refreshing and close the connections."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def request(self, url: str, method: str, **kwargs: Any) -> httpx.Response:
        """Send one call; whatever the core cannot answer is a 503, never a 500."""
        if not self._accepted:
            await self._look_who_answers()
        response = await self._send(method, url, **kwargs)
        if response.is_error:
            log.error(
                "core_refused",
                method=method,
                path=response.url.path,
                status=response.status_code,
                message=response.text[:200],
            )
            raise IdentityUnavailable()
        return response

    async def _look_who_answers(self) -> None:
        """Refuse the development core in production, and say loudly when it answers elsewhere."""
        response = await self._send("GET", f"{self._base()}/hello")
        if not response.is_success:
            # A core in trouble does not say which one it is, so nobody may rely on it.
            raise IdentityUnavailable()
        hello = response.text
        if DEVCORE_MARK in hello.lower():
            if self._settings.app_env is AppEnv.PRODUCTION:
                log.critical("devcore_refused", supertokens_uri=self._base())
                raise DevcoreRefused()
            log.warning("devcore_in_use", hello=hello.strip()[:200])
        else:
            log.info("core_in_use", hello=hello.strip()[:200])
        self._accepted = True

    async def _fetch_keys(self) -> dict[str, Any]:
        response = await self.request(f"{self._base()}/.well-known/jwks.json", "GET")
        try:
            document: dict[str, Any] = response.json()
        except ValueError as error:
            raise IdentityUnavailable() from error
        return document

    async def _send(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        # A connection may be closed by the other side just as we use it: reads may be repeated.
        attempts = 2 if method == "GET" else 1
        while True:
            attempts -= 1
            try:
                return await self._client().request(method, url, **kwargs)
            except httpx.TransportError as error:
                if attempts and not isinstance(error, httpx.TimeoutException):
                    continue
                log.warning("core_unreachable", method=method, reason=type(error).__name__)
                raise IdentityUnavailable() from error

    def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._http is None or self._loop is not loop:
            self._http = httpx.AsyncClient(timeout=TIMEOUT, limits=LIMITS, trust_env=False)
            self._loop = loop
        return self._http

    def _base(self) -> str:
        return self._settings.supertokens_uri.rstrip("/")

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(KEYS_FRESH_S if self.keys.warm else KEYS_RETRY_S)
            # The core may have been exchanged meanwhile: look again who answers.
            self._accepted = False
            try:
                await self.keys.refresh()
            except IdentityUnavailable:
                log.warning("signing_keys_not_refreshed", warm=self.keys.warm)


def _signs_sessions(key: dict[str, Any]) -> bool:
    named = isinstance(key.get("kid"), str) and key["kid"].startswith(SESSION_KEY_PREFIX)
    return named and key.get("kty") == "RSA" and key.get("alg", "RS256") == "RS256"


_current: CoreClient | None = None
_original_request = Querier.api_request
_original_keys = jwks.get_latest_keys


def check_sdk() -> None:
    """Refuse an SDK whose inside differs from what is replaced here."""
    wanted = ["self", "url", "method", "attempts_remaining", "args", "kwargs"]
    if (
        VERSION != SDK_VERSION
        or list(inspect.signature(_original_request).parameters) != wanted
        or list(inspect.signature(_original_keys).parameters) != ["config", "kid"]
        or vars(access_token)["get_latest_keys"] not in (_original_keys, _keys_in_memory)
    ):
        raise SdkChanged(
            f"supertokens-python is {VERSION}; app.services.core_client was written for "
            f"{SDK_VERSION}. Look at Querier.api_request and get_latest_keys, then adapt it."
        )


def use(client: CoreClient) -> None:
    """Let the SDK talk through this client from now on."""
    global _current  # noqa: PLW0603 - the SDK is one per process, so is its client
    check_sdk()
    _current = client
    setattr(Querier, "api_request", _request)  # noqa: B010 - replaces a function of the SDK
    vars(access_token)["get_latest_keys"] = _keys_in_memory


def _client_in_use() -> CoreClient:
    if _current is None:
        raise IdentityUnavailable("The connection to the core is not set up.")
    return _current


async def _request(
    _: Querier, url: str, method: str, attempts_remaining: int, *args: Any, **kwargs: Any
) -> httpx.Response:
    del attempts_remaining, args
    return await _client_in_use().request(url, method, **kwargs)


def _keys_in_memory(_: Any, kid: str | None = None) -> list[jwt.PyJWK]:
    return [_client_in_use().keys.get(kid)]
