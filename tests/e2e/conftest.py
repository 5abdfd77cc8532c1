"""What the tests of the screen share: a browser, and a look at the database behind it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from browser_client import chromium
from platform_client import Platform
from playwright.async_api import Browser


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The machine's own Chromium."""
    async with chromium() as running:
        yield running


@pytest.fixture
async def database(platform: Platform) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection."""
    connection = await platform.database()
    try:
        yield connection
    finally:
        await connection.close()
