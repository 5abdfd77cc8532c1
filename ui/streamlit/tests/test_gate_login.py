"""The third door: a page has a verified user, or it ends with the way to the sign-in page."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import peg_login
import pytest
from gate.identity import Identity
from gate.vault import Pass, get_vault
from services.models import User
from streamlit.testing.v1 import AppTest

ALICE = Identity("11111111-2222-4333-8444-555555555555", "trader", "handle-a")
STATED = {"user_id": ALICE.user_id, "role": "trader", "session_handle": "handle-a"}


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Say what the handshake stated."""

    def stated(fields: dict[str, Any]) -> None:
        monkeypatch.setattr("streamlit.user_info._get_user_info", lambda: fields)

    return stated


def connected(identity: Identity = ALICE, minutes: int = 5) -> None:
    expires_at = datetime.now(UTC) + timedelta(minutes=minutes)
    get_vault().put(Pass(identity, "alice@test.informania.dev", expires_at, "token"))


def test_a_confirmed_user_is_returned(state: Callable[[dict[str, Any]], None]) -> None:
    connected()
    state(STATED)
    assert peg_login.authenticate_user() == User(
        ALICE.user_id, "trader", "handle-a", "alice@test.informania.dev"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"email": "alice@test.informania.dev"},
        {**STATED, "user_id": "21111111-2222-4333-8444-555555555555"},
        {**STATED, "role": "admin"},
        {**STATED, "role": None},
        {**STATED, "session_handle": "handle-b"},
        {**STATED, "session_handle": True},
    ],
)
def test_whatever_differs_is_nobody(
    state: Callable[[dict[str, Any]], None], fields: dict[str, Any]
) -> None:
    connected()
    state(fields)
    assert peg_login.authenticate_user() is None


def test_without_the_gates_word_nobody_is_believed(
    state: Callable[[dict[str, Any]], None],
) -> None:
    state(STATED)
    assert peg_login.authenticate_user() is None
    connected(minutes=0)
    assert peg_login.authenticate_user() is None


def page() -> None:
    """Stands for a page: whatever it shows, it shows to a user."""
    import streamlit as st  # noqa: PLC0415 (AppTest runs this function by itself)
    from components.auth_gate import require_user  # noqa: PLC0415

    user = require_user()
    st.title(f"The figures of {user.user_id}")


@pytest.mark.parametrize("module", ["peg_login", "no_such_module", "json"])
def test_a_page_without_a_user_ends_with_the_way_to_sign_in(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setenv("APP_ENV", "test")
    monkeypatch.setenv("LOGIN_MODULE", module)
    shown = AppTest.from_function(page).run()
    assert [header.value for header in shown.header] == ["You are signed out"]
    assert not shown.title
    assert not shown.exception
    (link,) = shown.get("html")
    assert 'href="/auth/login?next=' in link.proto.body
