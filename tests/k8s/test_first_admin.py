"""The first administrator is made as ops/k8s/README.md says, and can do what he is for."""

import importlib.util
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from k8s.rendered import ROOT

from app.core.settings import get_settings

SCRIPT = ROOT / "ops/k8s/first_admin.py"


@pytest.fixture
def pod_environment(database: Any, core: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set what a pod of the API has in its environment."""
    values = {
        "APP_ENV": "test",
        "DATABASE_HOST": database.host,
        "DATABASE_PORT": str(database.port_for("app_write")),
        "DATABASE_NAME": database.name,
        "SECRETS_DIR": str(database.settings.secrets_dir),
        "SUPERTOKENS_URI": core.uri,
        "CORE_API_KEY": core.api_key,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("pod_environment")
async def test_the_first_administrator_is_made_once(database: Any, core: Any) -> None:
    """The core knows his password, and our tables know his role."""
    spec = importlib.util.spec_from_file_location("first_admin", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    email = f"first-{uuid4().hex[:12]}@test.informania.dev"
    password = await script.make(email)
    answer = await core.call("POST", "/recipe/signin", email=email, password=password)
    assert answer["status"] == "OK"
    connection = await database.connect("postgres")
    row = await connection.fetchrow("SELECT role, disabled FROM app.users WHERE email = $1", email)
    assert (row["role"], row["disabled"]) == ("admin", False)
    assert await script.make(email) is None
