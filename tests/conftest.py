"""The whole platform, started once for the tests that look at it from outside."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from compose_client import ComposePlatform
from platform_client import Platform, Trader


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform; everything of it ends with the session."""
    folder = tmp_path_factory.mktemp("platform")
    env = {"SIGNIN_LIMIT_PER_MINUTE": "1000"}
    if os.environ.get("PLATFORM") == "compose":
        # So named that what a killed run left behind is found by it.
        project = {"COMPOSE_PROJECT_NAME": os.environ["COMPOSE_PROJECT_NAME"]}
        profiles = os.environ["PROFILES"]
        installation: Platform = ComposePlatform(folder, env=env | project, profiles=profiles)
    else:
        installation = Platform(folder, env=env)
    installation.start()
    try:
        yield installation
    finally:
        installation.stop()


@pytest.fixture
async def trader(platform: Platform) -> AsyncIterator[Trader]:
    async with Trader(platform, "trader") as signed_in:
        yield signed_in
