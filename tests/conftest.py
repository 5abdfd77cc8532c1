"""The whole platform, started once for the tests that look at it from outside."""

from collections.abc import AsyncIterator, Iterator

import pytest
from platform_client import Platform, Trader


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform; everything of it ends with the session."""
    folder = tmp_path_factory.mktemp("platform")
    installation = Platform(folder, env={"SIGNIN_LIMIT_PER_MINUTE": "1000"})
    installation.start()
    try:
        yield installation
    finally:
        installation.stop()


@pytest.fixture
async def trader(platform: Platform) -> AsyncIterator[Trader]:
    async with Trader(platform, "trader") as signed_in:
        yield signed_in
