"""Makes the screen's modules importable, behind all others: `app` is the backend's name too."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

sys.path.extend(path for path in (str(HERE.parent), str(HERE)) if path not in sys.path)


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    """Each test begins with an empty vault and no cached answers or connections."""
    yield
    for name, forget in (
        ("services.database", lambda module: module.close()),
        ("services.api_client", lambda module: module.close()),
        ("services.ro_db", lambda module: module._cache.clear()),
        ("services.db_tokens", lambda module: module._held.clear()),
        ("services.settings", lambda module: module.get_settings.cache_clear()),
        ("gate.vault", lambda module: module.get_vault.take()),
    ):
        if name in sys.modules:
            forget(sys.modules[name])
