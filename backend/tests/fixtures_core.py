"""Gives tests a real identity core, the development core in a process of its own, and its users."""

import asyncio
import ctypes
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fixtures_postgres import Cluster, Database
from free_ports import free_port

PUBLIC_URL = "http://localhost:8080"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10
PR_SET_PDEATHSIG = 1
RECIPES = (
    ("supertokens_python.supertokens", "Supertokens"),
    ("supertokens_python.recipe.session.recipe", "SessionRecipe"),
    ("supertokens_python.recipe.emailpassword.recipe", "EmailPasswordRecipe"),
    ("supertokens_python.recipe.userroles.recipe", "UserRolesRecipe"),
    ("supertokens_python.recipe.accountlinking.recipe", "AccountLinkingRecipe"),
    ("supertokens_python.recipe.jwt.recipe", "JWTRecipe"),
    ("supertokens_python.recipe.openid.recipe", "OpenIdRecipe"),
    ("supertokens_python.recipe.multitenancy.recipe", "MultitenancyRecipe"),
    ("supertokens_python.recipe.oauth2provider.recipe", "OAuth2ProviderRecipe"),
)


@dataclass(frozen=True)
class Core:
    """A core that answers, and its key."""

    uri: str
    api_key: str

    async def call(self, method: str, path: str, /, **values: Any) -> dict[str, Any]:
        """Make one call as the SDK makes it; anything but 200 fails the test."""
        answer = await self.send(method, path, **values)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def send(self, method: str, path: str, /, **values: Any) -> httpx.Response:
        """Make one call and return the answer as it is."""
        headers = {"api-key": self.api_key, "cdi-version": "5.4"}
        in_query = method in ("GET", "DELETE")
        async with httpx.AsyncClient(base_url=self.uri, timeout=30, trust_env=False) as client:
            return await client.request(
                method,
                path,
                headers=headers,
                params=values if in_query else None,
                json=None if in_query else values,
            )


@dataclass(frozen=True)
class SignedIn:
    """A user with a session, as a browser holds it."""

    user_id: UUID
    email: str
    password: str
    role: str
    session_handle: str
    access_token: str
    refresh_token: str
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"rid": "anti-csrf", "Origin": PUBLIC_URL}
    )

    @property
    def cookies(self) -> dict[str, str]:
        """The session's cookies."""
        return {"sAccessToken": self.access_token, "sRefreshToken": self.refresh_token}


SignIn = Callable[..., Awaitable[SignedIn]]


@contextmanager
def running_core(database: Any, log: Path, **environment: str) -> Iterator[Core]:
    """Run a development core against a database until the end of the block."""
    port = free_port()
    secrets_dir = database.cluster.secrets_dir
    settings = {
        "APP_ENV": "test",
        "DEVCORE_PORT": str(port),
        "DATABASE_HOST": database.host,
        "DATABASE_PORT": str(database.port),
        "DATABASE_NAME": database.name,
        "SECRETS_DIR": str(secrets_dir),
        **environment,
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "devcore"],
            env=os.environ | settings,
            stdout=output,
            stderr=output,
            preexec_fn=_die_with_us,  # noqa: PLW1509 - one call into libc
        )
        try:
            core = Core(f"http://127.0.0.1:{port}", (secrets_dir / "core_api_key").read_text())
            _wait_for(core, process, log)
            yield core
        finally:
            _stop(process)


def _die_with_us() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for(core: Core, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{core.uri}/hello", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"The development core did not start:\n{log.read_text()}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for end in (process.terminate, process.kill):
        end()
        try:
            process.wait(STOP_TIMEOUT_S)
            return
        except subprocess.TimeoutExpired:
            continue


@pytest.fixture(scope="session")
def shared_core(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """One core for the run, on a database of its own."""
    name = f"core_{os.getpid()}"
    cluster.create_database(name)
    log = tmp_path_factory.mktemp("core") / "core.log"
    try:
        with running_core(Database(cluster, name), log) as core:
            yield core
    finally:
        cluster.drop_database(name)


@pytest.fixture
def core(shared_core: Core) -> Core:
    """A real core; its users are shared by the tests of a run, so take fresh addresses."""
    return shared_core


@pytest.fixture
def signed_in(core: Core, database: Database) -> SignIn:
    """Make users with a session: `await signed_in("trader")`."""

    async def sign_in(role: str = "trader", *, public_url: str = PUBLIC_URL) -> SignedIn:
        return await make_signed_in(core, database, role, public_url=public_url)

    return sign_in


async def make_signed_in(
    core: Core, database: Database, role: str, *, public_url: str = PUBLIC_URL
) -> SignedIn:
    """Sign a user up in the core, record him in our tables, and begin a session."""
    email = f"{role}-{secrets.token_hex(6)}@test.informania.dev"
    password = secrets.token_urlsafe(12) + "a1"
    signed_up = await core.call("POST", "/public/recipe/signup", email=email, password=password)
    user_id = signed_up["recipeUserId"]
    connection = await database.connect("app_migrate")
    query = "SELECT app.sp_user_upsert('system:test', $1, $2, $3, FALSE)"
    await connection.execute(query, UUID(user_id), email, role)
    session = await begin_session(core, user_id, public_url=public_url)
    return SignedIn(
        user_id=UUID(user_id),
        email=email,
        password=password,
        role=role,
        session_handle=session["session"]["handle"],
        access_token=session["accessToken"]["token"],
        refresh_token=session["refreshToken"]["token"],
        headers={"rid": "anti-csrf", "Origin": public_url},
    )


async def begin_session(
    core: Core, user_id: str, *, public_url: str = PUBLIC_URL, **changes: Any
) -> dict[str, Any]:
    """Begin a session in the core as the SDK does."""
    values = {
        "userId": user_id,
        "userDataInJWT": {"iss": f"{public_url}/auth"},
        "userDataInDatabase": {},
        "useDynamicSigningKey": True,
        "enableAntiCsrf": False,
        **changes,
    }
    return await core.call("POST", "/public/recipe/session", **values)


@pytest.fixture(autouse=True)
def _fresh_sdk() -> Iterator[None]:
    """Let every test set the SDK up anew; it is one per process."""
    yield
    reset_sdk()


def reset_sdk() -> None:
    """Forget the SDK's set-up, so that an application for another core can be made."""
    middleware = sys.modules.get("app.auth.supertokens_middleware")
    if middleware is None:
        return
    middleware.forget()
    had = os.environ.get("SUPERTOKENS_ENV")
    # The SDK resets itself only where it believes to be tested.
    os.environ["SUPERTOKENS_ENV"] = "testing"
    try:
        for module, name in RECIPES:
            if module in sys.modules:
                getattr(sys.modules[module], name).reset()
    finally:
        del os.environ["SUPERTOKENS_ENV"]
        if had is not None:
            os.environ["SUPERTOKENS_ENV"] = had


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_s: float = 10) -> None:
    """Wait until a condition holds, or fail."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)
