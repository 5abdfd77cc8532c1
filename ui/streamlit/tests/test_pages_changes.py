"""Kinds of order, replace, cancel-all and the switches, for a trader and an administrator."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from components import change_flow, switches
from components.change_flow import Replacing
from pages_rows import make_account, make_order
from pages_world import Desk, open_page, seat, texts
from services import api_client
from services.models import Capability, Changes
from streamlit.testing.v1 import AppTest


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk with a working order."""
    return seat(monkeypatch, Desk(orders=[make_order(1001)]))


# --- kinds of order -------------------------------------------------------------------------


def test_the_ticket_offers_what_the_route_of_the_account_can_do(desk: Desk) -> None:
    desk.capabilities = [Capability(1, "market", "ioc"), Capability(1, "stop_limit", "gtd"),
                         Capability(2, "limit", "fok")]  # fmt: skip
    app = open_page("03_Trades", "trader")
    assert not app.exception
    assert app.selectbox(key="ticket.type").options == ["Market", "Stop-limit"]
    assert app.selectbox(key="ticket.time_in_force").options == ["IOC (now or not)"]
    app.selectbox(key="ticket.type").select("stop_limit").run()
    assert app.selectbox(key="ticket.time_in_force").options == ["GTD (until a time)"]
    app.selectbox(key="ticket.account").select(2).run()
    assert not app.exception
    assert app.selectbox(key="ticket.type").options == ["Limit"]
    assert app.selectbox(key="ticket.time_in_force").options == ["FOK (all now or not)"]


def test_a_route_that_can_do_nothing_is_said(desk: Desk) -> None:
    desk.capabilities = []
    app = open_page("03_Trades", "trader")
    assert not app.exception
    assert "takes no orders yet" in texts(app)


@pytest.mark.parametrize(
    ("order_type", "fields"),
    [
        ("market", []),
        ("limit", ["Limit price"]),
        ("stop", ["Stop price"]),
        ("stop_limit", ["Stop price", "Limit price"]),
    ],
)
def test_a_kind_of_order_asks_for_its_prices_and_no_other(
    desk: Desk, order_type: str, fields: list[str]
) -> None:
    app = open_page("03_Trades", "trader")
    app.selectbox(key="ticket.type").select(order_type).run()
    assert [field.label for field in app.number_input] == ["Quantity", *fields]


def test_a_stop_limit_order_until_a_time_is_sent_as_it_is_written(desk: Desk) -> None:
    app = open_page("03_Trades", "trader")
    app.selectbox(key="ticket.type").select("stop_limit").run()
    app.selectbox(key="ticket.time_in_force").select("gtd").run()
    app.number_input[0].set_value(10)
    app.number_input(key="ticket.stop_price.AAPL").set_value(189.5)
    app.run()
    app.button(key="ticket.review").click().run()
    assert "Enter a quantity, and the prices" in app.error[0].value, "the limit price is missing"
    app.number_input(key="ticket.limit_price.AAPL").set_value(190.1)
    app.datetime_input(key="ticket.expires_at").set_value(datetime(2030, 1, 31, 20, 0))  # noqa: DTZ001
    app.run()
    app.button(key="ticket.review").click().run()
    assert "stop 189.50 limit 190.10, GTD until 2030-01-31 20:00" in texts(app)
    app.button(key=f"send.{app.session_state['flow.client_order_id']}").click().run()
    ((ticket, _),) = desk.placed
    assert (ticket.order_type, ticket.time_in_force) == ("stop_limit", "gtd")
    assert (ticket.stop_price, ticket.limit_price) == (Decimal("189.5"), Decimal("190.1"))
    assert ticket.expires_at == datetime(2030, 1, 31, 20, 0, tzinfo=UTC)


# --- replace --------------------------------------------------------------------------------


def changing(role: str = "trader", **session: object) -> AppTest:
    """The Trades page with the dialog of order 1001 open."""
    app = open_page("03_Trades", role)
    app.session_state[change_flow.REPLACE] = Replacing(1001, "ui-key")
    return app.run()


def send(app: AppTest, **values: float) -> AppTest:
    """Write values into the dialog and send them."""
    key = app.session_state[change_flow.REPLACE].key
    for name, value in values.items():
        app.number_input(key=f"replace.{name}.{key}").set_value(value)
    app.button(key=f"replace.send.{key}").click()
    return app.run()


def test_a_row_offers_replace_where_the_order_can_be_changed(desk: Desk) -> None:
    desk.accounts = [make_account(1), make_account(2, can_trade=False)]
    desk.orders += [make_order(1002, status="pending_cancel"), make_order(1003, account_id=2)]
    app = open_page("03_Trades", "trader")
    assert list(app.dataframe[0].value["Replace"].fillna("")) == ["Replace 1001", "", ""]
    app = open_page("03_Trades", "viewer")
    assert "Replace" not in app.dataframe[0].value.columns


def test_a_replace_asks_for_what_differs_alone(desk: Desk) -> None:
    app = send(changing(), quantity=60)
    assert desk.replaced == [(1001, Changes(quantity=Decimal("60.0")), "ui-key")]
    assert change_flow.REPLACE not in app.session_state
    assert "Order 1001: change recorded, replacing." in app.toast[0].value.replace("\\", "")


def test_a_replace_that_changes_nothing_is_not_sent(desk: Desk) -> None:
    app = send(changing())
    assert desk.replaced == []
    assert "Nothing would change." in app.error[0].value


def test_a_replace_without_an_answer_goes_out_again_under_its_key_and_as_it_was(
    desk: Desk,
) -> None:
    desk.api_down = True
    app = send(changing(), limit_price=191)
    assert "State unknown." in app.warning[0].value
    assert "replace.quantity" not in str([field.key for field in app.number_input])
    desk.api_down = False
    app.button(key="replace.again").click().run()
    assert desk.replaced == [(1001, Changes(limit_price=Decimal("191.0")), "ui-key")] * 2
    assert change_flow.REPLACE not in app.session_state


def test_a_denied_replace_says_why_and_the_next_try_has_a_key_of_its_own(desk: Desk) -> None:
    fault = {"loc": ["body"], "type": "ORDER_NOTIONAL_EXCEEDS_MAX", "quantity_max": "263"}
    desk.problem = api_client.ApiProblem(409, "replace_denied", "Denied", None, [fault])
    app = send(changing(), quantity=9_000)
    said = app.error[0].value.replace("\\", "")
    assert "The change was denied; the order stays as it is." in said
    assert "The largest quantity that would have passed: 263." in said
    desk.problem = None
    send(app, quantity=200)
    keys = [key for _, _, key in desk.replaced]
    assert keys[0] == "ui-key" != keys[1]


@pytest.mark.parametrize(("status", "kept"), [(401, True), (429, True), (403, False), (409, False)])
def test_a_refused_replace_decides_on_its_key(desk: Desk, status: int, kept: bool) -> None:
    desk.problem = api_client.ApiProblem(status, "order_not_replaceable", "No")
    app = send(changing(), quantity=60)
    assert app.error
    assert (app.session_state[change_flow.REPLACE].key == "ui-key") is kept


def test_an_order_that_ended_meanwhile_is_not_offered_for_a_change(desk: Desk) -> None:
    desk.orders = [make_order(1001, status="filled", open=False)]
    app = changing()
    assert change_flow.REPLACE not in app.session_state
    assert "replace.back" not in [button.key for button in app.button]


def test_a_viewer_cannot_open_the_dialog(desk: Desk) -> None:
    app = changing("viewer")
    assert "replace.back" not in [button.key for button in app.button]


# --- switches -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "actions"),
    [
        ("trader", ["Cancel all orders", "Halt trading"]),
        (
            "admin",
            [
                "Cancel all orders",
                "Halt trading",
                "Let positions shrink only",
                "Resume trading",
            ],
        ),
    ],
)
def test_a_role_is_offered_its_switches(desk: Desk, role: str, actions: list[str]) -> None:
    app = open_page("03_Trades", role)
    assert app.selectbox(key="switch.action").options == actions


def test_a_viewer_is_offered_no_switch(desk: Desk) -> None:
    app = open_page("03_Trades", "viewer")
    assert not [box for box in app.selectbox if str(box.key).startswith("switch.")]


def thrown(
    app: AppTest, action: str, *, of: int | None = None, cancel_open: bool = False, **fields: str
) -> AppTest:
    """Throw a switch with these fields, which stand in a form and go out together."""
    app.selectbox(key="switch.action").select(action).run()
    if of is not None:
        app.selectbox(key=f"switch.of.{action}").select(of)
    if cancel_open:
        app.checkbox(key="switch.cancel_open").check()
    for name, value in fields.items():
        app.text_input(key=f"switch.{name}.{action}").set_value(value)
    [button] = [b for b in app.button if b.label == switches.ACTIONS[action]]
    button.click()
    return app.run()


def test_all_orders_of_an_account_are_canceled_after_the_typed_phrase(desk: Desk) -> None:
    app = thrown(open_page("03_Trades", "trader"), "cancel_all", phrase="CANCEL ALL")
    ((account_id, key),) = desk.canceled_all
    assert account_id == 1
    assert key.startswith("ui-")
    assert "Cancel asked for 1 open order of Growth." in texts(app).replace("\\", "")


@pytest.mark.parametrize("phrase", ["", "cancel all", "CANCEL", "HALT"])
def test_without_the_phrase_nothing_is_canceled(desk: Desk, phrase: str) -> None:
    app = thrown(open_page("03_Trades", "trader"), "cancel_all", phrase=phrase)
    assert desk.canceled_all == []
    assert "Type CANCEL ALL to confirm. Nothing was done." in texts(app)


def test_a_cancel_all_without_an_answer_keeps_its_key(desk: Desk) -> None:
    desk.api_down = True
    app = thrown(open_page("03_Trades", "trader"), "cancel_all", phrase="CANCEL ALL")
    assert "No answer about canceling" in texts(app)
    desk.api_down = False
    thrown(app, "cancel_all", phrase="CANCEL ALL")
    thrown(app, "cancel_all", phrase="CANCEL ALL")
    first, again, other = [key for _, key in desk.canceled_all]
    assert first == again != other


def test_a_halt_needs_a_reason_and_names_its_account(desk: Desk) -> None:
    app = thrown(open_page("03_Trades", "trader"), "halt", phrase="HALT")
    assert "Say why" in texts(app)
    assert desk.switched == []
    app = thrown(app, "halt", cancel_open=True, phrase="HALT", reason=" fat finger ")
    assert desk.switched == [("halt", 1, "fat finger", True)]
    assert "Trading of Growth is halted." in texts(app).replace("\\", "")


def test_an_administrator_halts_and_resumes_everyone(desk: Desk) -> None:
    app = open_page("03_Trades", "admin")
    everyone = switches.EVERYONE
    app = thrown(app, "halt", of=everyone, phrase="HALT", reason="drill")
    thrown(app, "resume", of=everyone, phrase="RESUME", reason="drill over")
    assert desk.switched == [("halt", 0, "drill", False), ("resume", 0, "drill over", False)]


def test_everyones_orders_are_canceled_by_a_halt_alone() -> None:
    assert "Choose an account." in (switches.fault("cancel_all", 0, "", "CANCEL ALL") or "")
    assert switches.fault("cancel_all", 1, "", "CANCEL ALL") is None
    assert switches.fault("halt", 0, "drill", "HALT") is None


def test_a_refused_switch_says_why(desk: Desk) -> None:
    desk.problem = api_client.ApiProblem(403, "role_not_allowed", "No")
    app = thrown(open_page("03_Trades", "trader"), "halt", phrase="HALT", reason="x")
    assert "Your role may not" in texts(app)


def test_a_dialog_is_asked_for_once_and_not_at_each_tick(desk: Desk) -> None:
    app = changing()
    assert app.session_state[change_flow.SHOWN] == 1001
    kept = replace(app.session_state[change_flow.REPLACE])
    app.run()
    assert app.session_state[change_flow.REPLACE] == kept
