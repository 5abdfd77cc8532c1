"""With the proxy and the session gate both taken away, the third door guards the pages."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import httpx
import pytest
from free_ports import free_port
from streamlit_client import Screen

HERE = Path(__file__).resolve().parent
FORGED = {
    "X-User-Id": "11111111-2222-4333-8444-555555555555",
    "X-User-Role": "admin",
    "X-Session-Handle": "22222222-2222-4333-8444-555555555555",
    "Cookie": "sAccessToken=eyJhbGciOiJub25lIn0.e30.",
}


@pytest.fixture
async def ungated() -> AsyncIterator[int]:
    """Serve the pages with nothing in front of them."""
    port = free_port()
    command = ("-m", "uvicorn", "ungated:app", f"--app-dir={HERE}", "--port", str(port))
    environ = {**os.environ, "APP_ENV": "test", "PYTHONPATH": str(HERE.parent)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command), env=environ, cwd=HERE.parent,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await healthy(port)
        yield port
    finally:
        process.kill()
        await process.wait()


async def healthy(port: int) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while True:
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/_stcore/health")
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == httpx.codes.OK:
                return


async def test_a_page_alone_still_shows_a_forger_nothing(ungated: int) -> None:
    base = f"http://127.0.0.1:{ungated}"
    for headers, page in product((FORGED, {}), ("", "Trades", "Reports")):
        async with Screen(base, origin=base, headers=headers) as screen:
            shown = await screen.run(page)
        assert "You are signed out" in shown.text
        assert "/auth/login?next=" in shown.text
        for figure in ("Equity", "Order ticket", "Account"):
            assert figure not in shown.text
