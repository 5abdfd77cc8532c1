"""From the ticket to a known outcome: one id, sent as often as it takes, one order."""

from dataclasses import replace
from decimal import Decimal

import pytest
from pages_rows import make_order
from pages_world import Desk, open_page, seat, texts
from services import api_client
from streamlit.testing.v1 import AppTest

TICKET = "ticket"


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk without orders."""
    return seat(monkeypatch, Desk())


def opened(**parameters: str) -> AppTest:
    """The Trades page with ten shares in the ticket."""
    app = open_page("03_Trades", "trader", **parameters)
    assert not app.exception
    return written(app)


def written(app: AppTest, quantity: float = 10) -> AppTest:
    """Ten shares in the ticket."""
    app.number_input[0].set_value(quantity)
    return app.run()


def reviewed(app: AppTest) -> AppTest:
    """The ticket after a press of Review."""
    app.button(key="ticket.review").click()
    return app.run()


def ticket_id(app: AppTest) -> str:
    """The id of the ticket on the screen."""
    kept = app.query_params[TICKET]
    return kept if isinstance(kept, str) else kept[0]


def send(app: AppTest) -> AppTest:
    """Press Send order in the dialog."""
    app.button(key=f"send.{ticket_id(app)}").click()
    return app.run()


def test_nothing_is_sent_by_a_review(desk: Desk) -> None:
    app = reviewed(opened())
    assert not app.exception
    assert "10 AAPL" in texts(app)
    assert desk.placed == []


def test_an_order_is_sent_under_the_id_of_its_ticket_and_said_as_recorded(desk: Desk) -> None:
    app = reviewed(opened())
    minted = ticket_id(app)
    send(app)
    ticket, sent_as = desk.placed[0]
    assert (ticket.symbol, ticket.quantity, sent_as) == ("AAPL", Decimal("10.0"), minted)
    assert app.success[0].value.replace("\\", "") == (
        "Order 2000 (buy 10 AAPL, market, day) is recorded. The timeline shows its way."
    )
    assert ticket_id(app) != minted
    assert app.number_input[0].value is None


def test_a_denied_preview_cannot_be_sent(desk: Desk) -> None:
    desk.preview = replace(
        desk.preview, would="deny", reason_code="ORDER_NOTIONAL_EXCEEDS_MAX",
        quantity_max=Decimal(263),
    )  # fmt: skip
    app = reviewed(opened())
    assert app.button(key=f"send.{ticket_id(app)}").disabled
    assert "The largest quantity that passes now: 263." in app.error[0].value


def test_a_ticket_keeps_its_id_over_a_reload(desk: Desk) -> None:
    app = opened()
    again = open_page("03_Trades", "trader", ticket=ticket_id(app))
    assert ticket_id(again) == ticket_id(app)


def test_an_id_whose_order_is_recorded_is_not_used_again_after_a_reload(desk: Desk) -> None:
    app = opened()
    left = ticket_id(app)
    desk.orders = [make_order(client_order_id=left)]
    again = open_page("03_Trades", "trader", ticket=left)
    assert ticket_id(again) != left
    assert "is recorded." in again.success[0].value.replace("\\", "")


@pytest.mark.parametrize("given", ["", "1", "ui-" + "0" * 31, "ui-" + "0" * 32 + "x"])
def test_a_made_up_id_in_the_address_is_not_taken(desk: Desk, given: str) -> None:
    assert ticket_id(open_page("03_Trades", "trader", ticket=given)) != given


def test_an_answer_that_never_came_leaves_the_state_unknown_and_the_id(desk: Desk) -> None:
    app = reviewed(opened())
    minted = ticket_id(app)
    desk.api_down = True
    send(app)
    assert "State unknown, checking." in app.warning[0].value
    assert not app.success
    assert not app.number_input, "another order could be written meanwhile"
    assert ticket_id(app) == minted


def test_an_unknown_order_is_found_in_the_database(desk: Desk) -> None:
    app = reviewed(opened())
    desk.api_down = True
    send(app)
    desk.record(*desk.placed[0])
    app.run()
    assert "is recorded." in app.success[0].value.replace("\\", "")
    assert ticket_id(app) != desk.placed[0][1]


def test_sending_again_goes_out_under_the_same_id(desk: Desk) -> None:
    app = reviewed(opened())
    desk.api_down = True
    send(app)
    app.button(key="flow.again").click()
    app.run()
    desk.api_down = False
    app.button(key="flow.again").click()
    app.run()
    assert len({sent_as for _, sent_as in desk.placed}) == 1
    assert len(desk.placed) == 3
    assert len(desk.orders) == 1
    assert app.success


def test_an_unknown_order_stays_unknown_when_the_database_is_away_too(desk: Desk) -> None:
    app = reviewed(opened())
    desk.api_down = True
    send(app)
    kept = ticket_id(app)
    desk.database_down = True
    app.run()
    assert "Neither the API nor the database answers." in texts(app)
    assert ticket_id(app) == kept


def test_dropping_is_offered_only_after_a_silence_that_proves_absence(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = reviewed(opened())
    desk.api_down = True
    send(app)
    assert "flow.drop" not in [button.key for button in app.button]
    sending = app.session_state["flow.sending"]
    long_ago = sending.sent_at.replace(year=sending.sent_at.year - 1)
    app.session_state["flow.sending"] = replace(sending, sent_at=long_ago)
    app.run()
    app.button(key="flow.drop").click()
    app.run()
    assert "Nothing was placed" in texts(app)
    assert ticket_id(app) != sending.client_order_id


@pytest.mark.parametrize(
    ("status", "code", "kept"),
    [
        (401, "session_revoked", True),
        (429, "too_many_requests", True),
        (403, "not_allowed_to_trade", False),
        (422, "idempotency_key_reused", False),
        (422, "validation_failed", False),
    ],
)
def test_a_refusal_is_said_and_decides_on_the_id(
    desk: Desk, status: int, code: str, kept: bool
) -> None:
    app = reviewed(opened())
    minted = ticket_id(app)
    desk.problem = api_client.ApiProblem(status, code, "Some title")
    send(app)
    assert app.error
    assert not app.success
    assert (ticket_id(app) == minted) is kept


def test_a_field_that_the_api_refuses_is_named(desk: Desk) -> None:
    errors = [{"loc": ["body", "quantity"], "type": "number_pattern"}]
    desk.problem = api_client.ApiProblem(422, "validation_failed", "Invalid", None, errors)
    app = reviewed(opened())
    assert app.error[0].value.replace("\\", "") == "Correct and review again: Quantity."


def test_a_review_without_the_api_sends_nothing(desk: Desk) -> None:
    desk.api_down = True
    app = reviewed(opened())
    assert "Nothing was sent" in app.error[0].value.replace("\\", "")
    assert "flow.sending" not in app.session_state


def test_a_review_of_an_empty_ticket_asks_for_a_quantity(desk: Desk) -> None:
    app = reviewed(open_page("03_Trades", "trader"))
    assert "Enter a quantity" in app.error[0].value


def test_a_cancel_is_asked_for_the_chosen_order_and_never_said_as_done(desk: Desk) -> None:
    desk.orders = [make_order(1002), make_order(1001)]
    app = open_page("03_Trades", "trader", order="1001")
    app.button(key="details.cancel.1001").click()
    app.run()
    assert desk.canceled == [1001]
    assert app.toast[0].value.replace("\\", "") == "Order 1001: canceling."
    assert list(app.dataframe[0].value["Status"]) == ["working", "working"]


def test_a_cancel_without_an_answer_says_that_it_is_not_known(desk: Desk) -> None:
    desk.orders = [make_order(1001)]
    desk.api_down = True
    app = open_page("03_Trades", "trader")
    app.button(key="details.cancel.1001").click()
    app.run()
    assert "No answer about canceling order 1001" in app.toast[0].value.replace("\\", "")
