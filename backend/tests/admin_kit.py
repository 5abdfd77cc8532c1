"""informania-admin against the running application, run by an administrator at a terminal."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from api_world import ORIGIN, MakePerson, Person, World

from app.admin.__main__ import main

Said = tuple[int, str, str]
Command = Callable[..., Awaitable[Said]]


class Across(httpx.BaseTransport):
    """Carries requests of the command's own thread to the application on the test's loop."""

    def __init__(self, world: World) -> None:
        self._inner = httpx.ASGITransport(world.app)
        self._loop = asyncio.get_running_loop()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask, and wait for the whole answer."""
        return asyncio.run_coroutine_threadsafe(self._ask(request), self._loop).result(30)

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        return httpx.Response(
            answer.status_code, headers=answer.headers, content=await answer.aread()
        )


@pytest.fixture
async def admin(make_person: MakePerson) -> Person:
    """A signed-up administrator."""
    return await make_person("admin")


@pytest.fixture
def credentials(admin: Person, tmp_path: Path) -> Path:
    """A file like .run/demo.json."""
    file = tmp_path / "people.json"
    person = {"email": admin.email, "password": admin.session.password, "role": "admin"}
    viewer = {"email": "v@x.dev", "password": "x", "role": "viewer"}
    file.write_text(json.dumps({"url": ORIGIN, "users": [viewer, person]}))
    return file


@pytest.fixture
async def command(world: World, credentials: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command; returns its code, what it printed and what it complained about."""
    transport = Across(world)

    async def run(*words: str, by: Path | None = credentials) -> Said:
        capsys.readouterr()
        signed = ("--credentials", str(by)) if by else ()
        out = io.StringIO()
        code = await asyncio.to_thread(main, [*signed, *words], transport=transport, out=out)
        return code, out.getvalue(), capsys.readouterr().err.strip()

    return run
