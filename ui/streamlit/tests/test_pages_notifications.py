"""The dialog of one's notifications: what is shown, saved, tried, removed and refused."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from components import notifications
from pages_world import PAGES, Desk, open_page, seat, texts
from services import api_client
from services.models import Channel, User
from streamlit.testing.v1 import AppTest

PHONE = Channel("phone", "ntfys://ntfy.test", ("lost", "halt"), None, 60, enabled=True)


@dataclass
class Channels:
    """What the API of a test knows and was asked."""

    items: list[Channel] = field(default_factory=lambda: [PHONE])
    saved: list[tuple[Channel, str]] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    problem: Exception | None = None
    down: bool = False

    def list(self, user: User) -> list[Channel]:
        if self.down:
            raise api_client.ApiDown("no answer")
        return self.items

    def save(self, user: User, channel: Channel, address: str) -> None:
        self._fail()
        self.saved.append((channel, address))
        others = [it for it in self.items if it.name != channel.name]
        self.items = [*others, replace(channel, hint="mailtos://mail.test")]

    def send_test(self, user: User, name: str) -> None:
        self._fail()
        self.tried.append(name)

    def remove(self, user: User, name: str) -> None:
        self._fail()
        self.items = [it for it in self.items if it.name != name]

    def _fail(self) -> None:
        if self.problem:
            raise self.problem


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Channels:
    seat(monkeypatch, Desk())
    known = Channels()
    monkeypatch.setattr(api_client, "channels", known.list)
    monkeypatch.setattr(api_client, "set_channel", known.save)
    monkeypatch.setattr(api_client, "send_test", known.send_test)
    monkeypatch.setattr(api_client, "remove_channel", known.remove)
    return known


def opened(role: str = "trader", page: str = "01_Dashboard") -> AppTest:
    app = open_page(page, role)
    app.button(key="notify.open").click()
    app = app.run()
    assert not app.exception
    return app


def save(app: AppTest, name: str | None, address: str, kinds: list[str] | None = None) -> AppTest:
    """Fill the form and press its button."""
    for box in app.text_input:
        if box.label == "Name" and name is not None:
            box.set_value(name)
        elif box.label.startswith("Address"):
            box.set_value(address)
    if kinds is not None:
        [news] = [box for box in app.multiselect if box.label == "News"]
        news.set_value(kinds)
    [button] = [one for one in app.button if one.label == "Save"]
    button.click()
    app = app.run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    return texts(app).replace("\\", "")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("role", ["viewer", "trader", "admin"])
def test_everybody_finds_his_channels_on_every_page(
    channels: Channels, role: str, page: str
) -> None:
    text = said(opened(role, page))
    assert "phone" in text
    assert "ntfys://ntfy.test" in text
    assert "Lost orders, Halts and resumes; all accounts; at most a message in 60 s" in text


def test_a_new_channel_is_saved_and_its_address_is_not_kept_in_the_form(
    channels: Channels,
) -> None:
    app = save(opened(), " mail ", " mailtos://mail.test/way-in ", ["fill"])
    [(saved, address)] = channels.saved
    assert saved == Channel("mail", "", ("fill",), None, 60, enabled=True)
    assert address == "mailtos://mail.test/way-in"
    assert "mail is saved." in said(app)
    assert "mailtos://mail.test" in said(app)
    assert [box.value for box in app.text_input if box.label == "Address"] == [""]


def test_a_change_begins_with_what_is_known_and_keeps_the_address(channels: Channels) -> None:
    channels.items = [replace(PHONE, account_ids=(2,), interval_s=300, enabled=False)]
    app = opened()
    assert "Off." in said(app)
    app.button(key="notify.change.phone").click()
    app = app.run()
    assert [box.label for box in app.text_input if box.label == "Name"] == []
    app = save(app, None, "")
    [(saved, address)] = channels.saved
    assert saved == Channel("phone", "", ("lost", "halt"), (2,), 300, enabled=False)
    assert address == ""


def test_a_new_channel_does_not_take_the_place_of_another(channels: Channels) -> None:
    app = save(opened(), "phone", "jsons://a.test", ["fill"])
    assert "You have a channel phone." in said(app)
    assert channels.saved == []


def test_a_change_does_not_widen_a_channel_whose_account_was_lost(channels: Channels) -> None:
    channels.items = [replace(PHONE, account_ids=(9,))]
    app = opened()
    app.button(key="notify.change.phone").click()
    save(app.run(), None, "")
    assert [saved.account_ids for saved, _ in channels.saved] == [(9,)]


@pytest.mark.parametrize(
    ("name", "address", "kinds", "why"),
    [
        ("", "jsons://a.test", ["fill"], "Name it by"),
        ("two words", "jsons://a.test", ["fill"], "Name it by"),
        ("x" * 41, "jsons://a.test", ["fill"], "Name it by"),
        ("../x", "jsons://a.test", ["fill"], "Name it by"),
        ("mail", "", ["fill"], "needs an address"),
        ("mail", "   ", ["fill"], "needs an address"),
        ("mail", "jsons://a.test", [], "at least one kind"),
    ],
)
def test_what_is_not_whole_is_not_sent(
    channels: Channels, name: str, address: str, kinds: list[str], why: str
) -> None:
    assert why in str(notifications.fault(name, kinds, address.strip(), None))
    if len(name) <= 40:
        app = save(opened(), name, address, kinds)
        assert why in said(app)
    assert channels.saved == []


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (api_client.ApiProblem(409, "channels_full", "No"), "You have ten channels."),
        (
            api_client.ApiProblem(
                422, "address_not_allowed", "No", "The address is refused: *private* host."
            ),
            "The address is refused: *private* host.",
        ),
        (api_client.ApiDown("no answer"), "No answer."),
    ],
)
def test_a_refusal_says_why_and_what_was_typed_stays(
    channels: Channels, problem: Exception, why: str
) -> None:
    channels.problem = problem
    app = save(opened(), "mail", "jsons://10.0.0.1", ["fill"])
    assert why in said(app)
    assert channels.saved == []
    assert [box.value for box in app.text_input if box.label == "Name"] == ["mail"]
    assert [box.value for box in app.text_input if box.label == "Address"] == ["jsons://10.0.0.1"]


def test_a_test_is_asked_for_and_a_channel_removed(channels: Channels) -> None:
    app = opened()
    app.button(key="notify.test.phone").click()
    app = app.run()
    assert channels.tried == ["phone"]
    assert "A test is on its way." in said(app)
    app.button(key="notify.remove.phone").click()
    app = app.run()
    assert channels.items == []
    assert "phone is removed." in said(app)


def test_without_the_api_nothing_is_claimed(channels: Channels) -> None:
    channels.down = True
    app = opened()
    assert "No answer." in said(app)
    assert [one for one in app.button if one.label == "Save"] == []


def test_the_state_of_a_channel_is_said_in_words() -> None:
    at = datetime(2026, 11, 28, 5, 6, 7, tzinfo=UTC)
    assert notifications.state(PHONE) == "No message yet."
    sent = replace(PHONE, sent_at=at, pending=2)
    assert notifications.state(sent) == "Last message 2026-11-28 05:06:07 UTC. 2 to be sent."
    failed = replace(sent, last_error="refused", dead=3, pending=0)
    assert "The last try failed: refused. 3 given up" in notifications.state(failed)
    named = replace(PHONE, account_ids=(1, 9))
    assert "; Main, 9; " in notifications.summary(named, {1: "Main"})
