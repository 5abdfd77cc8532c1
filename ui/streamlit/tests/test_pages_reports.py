"""The Reports page and the panels of risk: what each role is shown and may take along."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from components import formats
from pages_rows import (
    make_alert,
    make_cost,
    make_day,
    make_execution,
    make_part,
    make_span_part,
    make_summary,
)
from pages_world import Desk, Results, open_page, seat, texts
from services import ro_db
from services.models import Exposure, LimitUsage
from services.models_reports import MonthlyPnl
from streamlit.testing.v1 import AppTest

FILES = ["Executions", "Days", "Months", "Attribution", "Attribution ever", "Costs"]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk with results and risk."""
    money = Decimal(38_024)
    return seat(
        monkeypatch,
        Desk(
            days=[make_day(date(2026, 11, 1) + timedelta(days=n), "5") for n in range(3)],
            executions=[make_execution()],
            results=Results(
                exposure=[Exposure(1, "symbol", "AAPL", "USD", money, money, 0)],
                limits=[
                    LimitUsage(1, "USD", "open_orders", Decimal(1), Decimal(4), Decimal(".25"))
                ],
                alerts=[make_alert()],
                months=[MonthlyPnl(date(2026, 11, 1), "USD", 3, Decimal(15), 0.00015)],
                parts=[make_span_part()],
                attribution=[make_part()],
                costs=[make_cost()],
            ),
        ),
    )


def columns(app: AppTest) -> list[str]:
    """The first column of every table, which tells what it is."""
    return [table.value.columns[0] for table in app.dataframe]


def downloads(app: AppTest) -> list[str]:
    """What the page offers to take along."""
    return [element.proto.label for element in app.get("download_button")]


@pytest.mark.parametrize(
    ("role", "files"),
    [("viewer", FILES), ("trader", FILES), ("admin", [*FILES, "Audit log"])],
)
def test_the_audit_log_is_offered_to_administrators_alone(
    desk: Desk, role: str, files: list[str]
) -> None:
    app = open_page("02_Reports", role)
    assert not app.exception
    assert app.selectbox(key="reports.what").options == files
    assert downloads(app) == ["Download", "Tear sheet"]


@pytest.mark.parametrize(("role", "files"), [("viewer", FILES), ("admin", [*FILES, "Audit log"])])
def test_a_first_day_without_figures_has_files_all_the_same(
    desk: Desk, role: str, files: list[str]
) -> None:
    desk.days = []
    app = open_page("02_Reports", role)
    assert not app.exception
    assert "Nothing to report in this period yet" in texts(app)
    assert app.selectbox(key="reports.what").options == files
    assert downloads(app) == ["Download"]


def test_what_has_no_exchange_rate_is_said_on_both_pages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = make_summary(unconverted=1, fx_date=date(2026, 11, 19))
    monkeypatch.setattr(ro_db, "account_summary", lambda user, ids: [summary])
    for page in ("01_Dashboard", "02_Reports"):
        app = open_page(page, "trader")
        assert not app.exception
        said = texts(app)
        assert formats.plain("Growth (1 currency)") in said, page
    assert "rates of 2026-11-19" in texts(open_page("01_Dashboard", "trader"))


def test_nothing_of_a_file_is_read_before_it_is_asked_for(desk: Desk) -> None:
    open_page("02_Reports", "admin")
    assert "audit_extract" not in {name for name, _ in desk.reads}


def test_a_report_has_its_sections(desk: Desk) -> None:
    app = open_page("02_Reports", "trader")
    assert columns(app) == ["Symbol", "Symbol", "Symbol", "Time (UTC)", "Day (UTC)"]
    said = texts(app)
    for title in ("Monthly return", "Daily P&L", "Drawdown", "Attribution", "Cost of trading"):
        assert title in said, title
    tiles = [tile.label for tile in app.metric]
    for name in ("Annual return", "Win rate", "Profit factor", "Turnover", "Fees (USD)"):
        assert name in tiles, name
    assert "What the figures mean" in [box.label for box in app.expander]


def test_a_section_without_rows_says_so_in_a_line(desk: Desk) -> None:
    desk.results = Results()
    desk.executions = []
    app = open_page("02_Reports", "trader")
    assert not app.exception
    said = texts(app)
    for line in ("Nothing was traded yet.", "No orders were placed", "Nothing was filled"):
        assert line in said, line


def test_the_dashboard_tells_exposure_limits_and_alerts(desk: Desk) -> None:
    app = open_page("01_Dashboard", "trader")
    assert not app.exception
    shown = {table.value.columns[0]: table.value for table in app.dataframe}
    assert list(shown["Limit"]["Used"]) == [0.25]
    assert "denied by our rules" in shown["Since (UTC)"]["What"][0]


def test_a_quiet_dashboard_says_so_in_a_line(desk: Desk) -> None:
    desk.results = Results()
    said = texts(open_page("01_Dashboard", "trader"))
    for line in ("Nothing in the last 24 hours.", "Nothing is held.", "No limits are set"):
        assert line in said, line
