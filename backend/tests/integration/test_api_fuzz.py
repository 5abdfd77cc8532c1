"""Schemathesis against the running API, as each role: no answer but the documented ones.

FUZZ_SECONDS is the time of all roles together; `make test-api-fuzz` gives it a minute.
"""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from api_world import ORIGIN, OpenApi, Person, World, make_person, order
from token_kit import make_program

SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
ROLES = ("viewer", "trader", "admin", "program")
SEED = os.environ.get("FUZZ_SEED", "1")
TESTS = Path(__file__).parents[1]
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.fixture
async def served(open_api: OpenApi) -> AsyncIterator[tuple[World, str]]:
    """The application behind a real socket, with a description that everybody may read."""
    async with open_api(api_role="api") as world:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(world.app, log_config=None, lifespan="off"))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                yield world, f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                await serving


async def fuzzed(
    url: str, person: Person, seconds: int, folder: Path, *, token: str = ""
) -> tuple[int, str]:
    """Run Schemathesis as a person, or a program of his; returns its code and what it printed."""
    config = "schemathesis_program.toml" if token else "schemathesis.toml"
    browser = () if token else ("--header", "rid: anti-csrf", "--header", f"Origin: {ORIGIN}")
    document = folder / "openapi.json"
    document.write_bytes((await person.client.get("/api/openapi.json")).content)
    process = await asyncio.create_subprocess_exec(
        *(str(SCHEMATHESIS), "--config-file", str(TESTS / config)),
        *("run", str(document), "--url", url, "--checks", "all"),
        *("--max-time", str(seconds), "--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-examples", "50", "--seed", SEED, "--no-color", "--generation-database", "none"),
        *("--suppress-health-check", "all"),
        *browser,
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "PYTHONPATH": str(TESTS),
            "FUZZ_TOKEN": token or person.session.access_token,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


@pytest.mark.timeout(900)
async def test_no_request_is_answered_in_another_way_than_described(
    served: tuple[World, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, url = served
    for role in ROLES:
        person = await make_person(world, "trader" if role == "program" else role)
        account_id = await world.account(person)
        await person.place(order(account_id))
        token = ""
        if role == "program":
            admin = await make_person(world, "admin")
            token = (await make_program(world, admin, person)).token
        code, printed = await fuzzed(
            url, person, max(1, SECONDS // len(ROLES)), tmp_path, token=token
        )
        cases = re.search(r"(\d[\d,]*) generated", printed)
        with capsys.disabled():
            sys.stdout.write(f"\n{role}: {cases[1] if cases else 'no'} cases\n")
        assert code == 0, printed[-20_000:]
        assert cases, printed[-5_000:]
