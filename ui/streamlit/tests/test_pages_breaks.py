"""Resolving a break on the Dashboard: by an administrator, with a reason, after the typed word."""

from dataclasses import replace

import pytest
from components import breaks
from pages_rows import make_alert
from pages_world import Desk, open_page, seat, texts
from services import api_client
from streamlit.testing.v1 import AppTest


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk with two open breaks beside another alert."""
    alert = make_alert()
    broken = replace(
        alert, kind="recon_break", order_id=None, detail="position is 10 here, 9 there"
    )
    desk = Desk()
    desk.results.alerts = [alert, replace(broken, break_id=3), replace(broken, break_id=4)]
    return seat(monkeypatch, desk)


def pressed(app: AppTest, **fields: str) -> AppTest:
    """Fill the form and press its button."""
    for name, value in fields.items():
        app.text_input(key=f"break.{name}").set_value(value)
    [button] = [one for one in app.button if one.label == "Resolve"]
    button.click()
    return app.run()


@pytest.mark.parametrize("role", ["viewer", "trader"])
def test_only_an_administrator_is_offered_it(desk: Desk, role: str) -> None:
    app = open_page("01_Dashboard", role)
    assert not app.exception
    assert not [box for box in app.selectbox if box.key == "break.of"]


def test_without_a_break_there_is_nothing_to_resolve(desk: Desk) -> None:
    desk.results.alerts = desk.results.alerts[:1]
    app = open_page("01_Dashboard", "admin")
    assert not app.exception
    assert not [box for box in app.selectbox if box.key == "break.of"]


def test_the_chosen_break_is_resolved_with_its_reason(desk: Desk) -> None:
    app = open_page("01_Dashboard", "admin")
    app.selectbox(key="break.of").select(4)
    app = pressed(app, reason=" a share was assigned ", phrase="RESOLVE")
    assert not app.exception
    assert desk.resolved == [(4, "a share was assigned")]
    assert "Break 4 is resolved." in app.toast[0].value.replace("\\", "")
    assert [str(option)[0] for option in app.selectbox(key="break.of").options] == ["3"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": "", "phrase": "RESOLVE"}, "Say what it was"),
        ({"reason": "   ", "phrase": "RESOLVE"}, "Say what it was"),
        ({"reason": "x", "phrase": ""}, "Type RESOLVE to confirm"),
        ({"reason": "x", "phrase": "resolve"}, "Type RESOLVE to confirm"),
    ],
)
def test_without_reason_and_word_nothing_is_done(
    desk: Desk, fields: dict[str, str], said: str
) -> None:
    app = pressed(open_page("01_Dashboard", "admin"), **fields)
    assert desk.resolved == []
    assert said in texts(app)


@pytest.mark.parametrize(
    ("code", "said"),
    [("break_not_open", "over already"), ("role_not_allowed", "Your role may not")],
)
def test_a_refusal_says_why(desk: Desk, code: str, said: str) -> None:
    desk.problem = api_client.ApiProblem(409, code, "No")
    app = pressed(open_page("01_Dashboard", "admin"), reason="x", phrase="RESOLVE")
    assert said in texts(app)
    assert desk.resolved == []


def test_an_answer_that_does_not_come_is_not_taken_for_one(desk: Desk) -> None:
    desk.api_down = True
    app = pressed(open_page("01_Dashboard", "admin"), reason="x", phrase="RESOLVE")
    assert "No answer about break 3." in texts(app).replace("\\", "")
    assert breaks.fault("x", "RESOLVE") is None
