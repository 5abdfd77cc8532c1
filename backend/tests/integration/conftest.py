"""Fixtures of the tests of the API."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import api_world
import pytest
from api_world import MakePerson, OpenApi, Person, World, open_world
from fixtures_core import Core
from fixtures_postgres import Database


@pytest.fixture
def open_api(database: Database, core: Core) -> OpenApi:
    """Start the application on the database of this test, with other settings if need be."""
    return partial(open_world, database, core)


@pytest.fixture
async def world(open_api: OpenApi, tmp_path: Path) -> AsyncIterator[World]:
    """The application of this test, with a hot store where the library is built."""
    hot = {"lmdb_dir": tmp_path / "hot"} if api_world.LIBRARY.exists() else {}
    async with open_api(**hot) as world:
        yield world


@pytest.fixture
def make_person(world: World) -> MakePerson:
    """Make a user with a role and sign him in."""
    return partial(api_world.make_person, world)


@pytest.fixture
async def trader(make_person: MakePerson) -> Person:
    """A signed-in trader."""
    return await make_person("trader")
