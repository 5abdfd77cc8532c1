"""Each page, for each kind of visitor, in each state of the platform behind it."""

from datetime import date, timedelta

import pytest
from pages_rows import (
    NOW,
    make_account,
    make_day,
    make_execution,
    make_health,
    make_order,
    make_position,
)
from pages_world import PAGES, Desk, open_page, seat, texts
from services.models import EquityPoint

ROLES = ("viewer", "trader", "admin")
DAYS = [make_day(date(2026, 11, 1) + timedelta(days=n), str(50 - 11 * n)) for n in range(12)]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk with something of everything."""
    points = [
        EquityPoint(NOW + timedelta(minutes=n), "USD", make_position().market_value or 0)  # type: ignore[arg-type]
        for n in range(3)
    ]
    return seat(
        monkeypatch,
        Desk(
            orders=[make_order(1002, status="new"), make_order(1001)],
            executions=[make_execution()],
            positions=[make_position()],
            days=DAYS,
            points=points,
        ),
    )


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk on its first day."""
    return seat(monkeypatch, Desk())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("role", ROLES)
def test_a_page_is_shown_to_who_is_signed_in(page: str, role: str, desk: Desk) -> None:
    app = open_page(page, role)
    assert not app.exception
    assert not app.error
    assert [title.value for title in app.title] == [page.partition("_")[2]]
    assert {user.role for _, user in desk.reads} == {role}


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_sees_nothing_and_nothing_is_read_for_him(page: str, desk: Desk) -> None:
    app = open_page(page, None)
    assert not app.exception
    assert [header.value for header in app.header] == ["You are signed out"]
    assert not app.title
    assert not app.metric
    assert not app.dataframe
    assert desk.reads == []


@pytest.mark.parametrize("page", PAGES)
def test_a_first_day_says_what_to_do(page: str, empty: Desk) -> None:
    app = open_page(page, "trader")
    assert not app.exception
    assert not app.error
    assert app.info


@pytest.mark.parametrize("page", PAGES)
def test_without_the_database_a_page_says_so_and_shows_no_figure(page: str, desk: Desk) -> None:
    desk.database_down = True
    app = open_page(page, "trader")
    assert not app.exception
    assert "database does not answer" in app.error[0].value
    assert not app.metric
    assert not app.dataframe


@pytest.mark.parametrize("page", PAGES)
def test_the_last_figures_stay_with_their_age_when_the_database_goes(page: str, desk: Desk) -> None:
    app = open_page(page, "trader")
    before = [table.value.to_csv() for table in app.dataframe]
    desk.database_down = True
    app.run()
    assert not app.exception
    assert [table.value.shape[0] for table in app.dataframe] == [n.count("\n") - 1 for n in before]
    assert "These figures are of" in texts(app)
    assert "Read at" not in texts(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_session_that_ends_takes_its_figures_from_the_screen(page: str, desk: Desk) -> None:
    app = open_page(page, "trader")
    desk.session_over = True
    app.run()
    assert not app.exception
    assert "Your session has ended" in texts(app)
    assert not app.metric
    assert not app.dataframe
    desk.session_over, desk.database_down = False, True
    app.run()
    assert not app.dataframe, "the figures of a session that ended came back"


@pytest.mark.parametrize("page", PAGES)
def test_a_user_without_accounts_is_told_whom_to_ask(page: str, desk: Desk) -> None:
    desk.accounts = []
    app = open_page(page, "trader")
    assert not app.exception
    assert "Ask an administrator" in app.info[0].value
    assert not app.dataframe


@pytest.mark.parametrize("page", PAGES)
def test_the_accounts_in_the_address_are_the_ones_that_are_read(page: str, desk: Desk) -> None:
    app = open_page(page, "trader", account="Income")
    assert not app.exception
    assert {ids for _, ids in desk.asked} == {(2,)}


def test_a_viewer_has_no_ticket_and_no_cancel(desk: Desk) -> None:
    desk.accounts = [make_account(1, can_trade=False)]
    app = open_page("03_Trades", "viewer")
    assert not app.number_input
    assert not [button for button in app.button if "ancel" in button.label]
    assert "Cancel" not in app.dataframe[0].value.columns


def test_a_trader_has_a_ticket_where_he_may_trade_and_cancels_there_only(desk: Desk) -> None:
    desk.accounts = [make_account(1), make_account(2, can_trade=False)]
    desk.orders.append(make_order(1000, account_id=2))
    app = open_page("03_Trades", "trader")
    assert app.selectbox(key="ticket.account").options == ["Growth"]
    shown = app.dataframe[0].value["Cancel"].fillna("")
    assert list(shown) == ["Cancel 1002", "Cancel 1001", ""]


def test_an_administrator_cancels_anywhere_and_trades_only_as_a_member(desk: Desk) -> None:
    desk.accounts = [make_account(1, can_trade=False)]
    app = open_page("03_Trades", "admin")
    assert not app.number_input
    assert "not trade them" in texts(app)
    assert list(app.dataframe[0].value["Cancel"]) == ["Cancel 1002", "Cancel 1001"]


def test_new_and_submitting_read_sending(desk: Desk) -> None:
    desk.orders = [make_order(2, status="submitting"), make_order(1, status="new")]
    app = open_page("01_Dashboard", "viewer")
    working = next(table.value for table in app.dataframe if "Status" in table.value.columns)
    assert list(working["Status"]) == ["sending", "sending"]


def test_paper_and_replayed_prices_are_said_in_the_head(desk: Desk) -> None:
    said = texts(open_page("01_Dashboard", "viewer"))
    assert "PAPER" in said
    assert "Replayed prices, dates shifted" in said


def test_an_account_with_real_money_reads_live(desk: Desk) -> None:
    desk.accounts = [make_account(1), make_account(2, paper=False)]
    said = texts(open_page("01_Dashboard", "viewer"))
    assert "LIVE" in said
    assert "PAPER" not in said


def test_old_prices_are_called_stale_and_shut_the_ticket(desk: Desk) -> None:
    desk.health = make_health(price_received_at=NOW - timedelta(seconds=31))
    app = open_page("03_Trades", "trader")
    assert "STALE 31 s" in texts(app)
    assert app.button(key="ticket.review").disabled
    assert "Prices are too old" in texts(app)


def test_a_halt_is_said_with_its_reason_as_plain_text(desk: Desk) -> None:
    reason = "<b>Earnings</b> [x](http://evil.test)"
    desk.accounts = [make_account(1, trading_state="halted", trading_state_reason=reason)]
    said = open_page("01_Dashboard", "viewer").warning[0].value
    assert "halted" in said
    assert "\\<b\\>" in said
    assert "\\[x\\]\\(" in said
