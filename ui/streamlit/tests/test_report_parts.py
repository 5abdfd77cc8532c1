"""The pure parts of a report and of the panels of risk: tables, figures, the tear sheet."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from components import charts, formats, report_data, tables_risk, tear_sheet
from components.palette import DARK, LIGHT
from components.report_data import Period, Report
from pages_rows import NOW, make_alert, make_cost, make_day, make_part, make_span_part
from services.models import Exposure, LimitUsage
from services.models_reports import MonthlyPnl

MINUS = "\N{MINUS SIGN}"
NAMES = {1: "Growth"}
PERIOD = Period("1M", date(2026, 10, 22), date(2026, 11, 20))
EVIL = "<script>alert(1)</script>\"'&"


def months(*returns: float | None) -> list[MonthlyPnl]:
    """Months from November on."""
    days = [date(2025 + (10 + n) // 12, (10 + n) % 12 + 1, 1) for n in range(len(returns))]
    return [
        MonthlyPnl(day, "USD", 20, Decimal(100), value)
        for day, value in zip(days, returns, strict=True)
    ]


def report(**changes: object) -> Report:
    """A report with one row of each kind."""
    rows: dict[str, object] = {
        "months": months(0.1),
        "parts": [make_span_part()],
        "attribution": [make_part()],
        "costs": [make_cost()],
        "trades": [],
    }
    return Report(**{**rows, **changes})  # type: ignore[arg-type]


def days(*profits: str) -> list[object]:
    """Days one after the other."""
    return [make_day(PERIOD.first + timedelta(days=n), profit) for n, profit in enumerate(profits)]


def sheet(**changes: object) -> str:
    """A tear sheet."""
    rows = days("50", "-20")
    return tear_sheet.page("Growth", PERIOD, rows, report(**changes), NOW)  # type: ignore[arg-type]


class Reader(HTMLParser):
    """What a page asks for, and whether every tag that opens closes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_period_is_whole_days_up_to_today() -> None:
    week = report_data.period("1W", datetime(2026, 11, 20, 23, 59, tzinfo=UTC))
    assert (week.since, week.until) == (
        datetime(2026, 11, 14, tzinfo=UTC),
        datetime(2026, 11, 21, tzinfo=UTC),
    )
    assert week.text == "2026-11-14_2026-11-20"
    assert report_data.period("1W", datetime(2026, 11, 20, 0, 1, tzinfo=UTC)) == week


def test_a_wrong_figure_is_an_alert_that_says_both_numbers() -> None:
    wrong = make_alert(
        kind="integrity_break", severity="error", order_id=None, side=None, quantity=None,
        symbol="AAPL", reason_code=None, detail="position quantity is 10, should be 12",
    )  # fmt: skip
    (what,) = tables_risk.alerts([wrong], NAMES)["What"]
    assert what.startswith("⛔ AAPL: differs from what executions")
    assert what.endswith("position quantity is 10, should be 12")


# --- the tear sheet -------------------------------------------------------------------------


def test_a_tear_sheet_stands_alone_and_forbids_itself_to_load_anything() -> None:
    page = sheet()
    reader = Reader(page)
    assert reader.open == []
    assert not {"script", "link", "img", "iframe", "a", "form"} & set(reader.tags)
    assert not {"src", "href", "action"} & {name for name, _ in reader.attributes}
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)
    assert "default-src 'none'" in page
    assert "@media print" in page


def test_all_text_of_a_tear_sheet_is_escaped() -> None:
    part = make_part(symbol=EVIL, strategy=EVIL, currency=EVIL)
    page = tear_sheet.page(
        EVIL,
        PERIOD,
        [make_day(PERIOD.first, "5", currency=EVIL)],
        report(attribution=[part], costs=[make_cost(symbol=EVIL, currency=EVIL)]),
        NOW,
    )
    assert "<script" not in page
    reader = Reader(page)
    assert reader.open == []
    assert reader.texts.count(EVIL) >= 5
    assert "script" not in reader.tags


def test_a_tear_sheet_says_the_figures_of_the_screen() -> None:
    text = " ".join(Reader(sheet()).texts)
    for word in ("+30.00", "alpha", "+72.50", "+12.50", "+6.6", "75.00 %", "2025-11", "+10.00 %"):
        assert word in text, word


def test_a_tear_sheet_of_nothing_traded_says_so() -> None:
    page = sheet(attribution=[], costs=[], months=[])
    assert page.count("None in this period.") == 3


def test_the_pictures_of_a_tear_sheet_stay_within_their_frame() -> None:
    for values in ([], [0.0], [5.0], [-5.0], [1e9, -1e9, 0.0], [float(n) for n in range(500)]):
        picture = tear_sheet.bars(values, "Days") + tear_sheet.area(
            [-abs(v) for v in values], "Fall"
        )
        numbers = [float(it) for it in re.findall(r'(?:x|y|y1|x2)="([0-9.-]+)"', picture)]
        assert all(0 <= it <= tear_sheet.WIDTH for it in numbers), values
        assert "nan" not in picture


# --- figures --------------------------------------------------------------------------------


def test_months_are_a_row_a_year_and_say_their_number() -> None:
    figure = charts.monthly(months(0.1, None, -0.05), LIGHT)
    (heat,) = figure.data
    assert list(heat.y) == ["2025", "2026"]
    assert (heat.z[0][10], heat.z[0][11], heat.z[1][0]) == (10.0, None, -5.0)
    assert (heat.text[0][10], heat.text[1][0]) == ("+10.00 %", f"{MINUS}5.00 %")
    assert (heat.zmin, heat.zmax) == (-10, 10)


@pytest.mark.parametrize("returns", [(), (0.0,), (None,)])
def test_months_without_any_return_are_no_division_by_zero(returns: tuple[float | None]) -> None:
    assert charts.monthly(months(*returns), DARK).data[0].zmax > 0


def exposed(name: str | None, net: int, **changes: object) -> Exposure:
    """An exposure in dollars."""
    row = {"account_id": 1, "dimension": "symbol", "currency": "USD", **changes}
    return Exposure(name=name, net=Decimal(net), gross=abs(Decimal(net)), unpriced=0, **row)  # type: ignore[arg-type]


def test_exposure_of_several_accounts_is_added_up_by_name() -> None:
    rows = [exposed("AAPL", 100), exposed("AAPL", -40, account_id=2), exposed("IBM", -50)]
    (bars,) = charts.exposure(rows, LIGHT).data
    assert list(bars.y) == ["AAPL", "IBM"]
    assert list(bars.x) == [60, -50]
    assert list(bars.marker.color) == [LIGHT.gain, LIGHT.loss]
    assert bars.customdata[0] == "net +60.00, gross 140.00"


def test_strategies_stand_below_symbols_where_there_are_any() -> None:
    none = exposed(None, 100, dimension="strategy")
    alpha = exposed("alpha", 30, dimension="strategy")
    assert list(charts.exposure([exposed("AAPL", 100), none], LIGHT).data[0].y) == ["AAPL"]
    figure = charts.exposure([exposed("AAPL", 130), none, alpha], LIGHT)
    assert list(figure.data[0].y) == ["AAPL", "Strategy none", "Strategy alpha"]


def test_money_of_two_kinds_is_never_one_bar() -> None:
    rows = [exposed("AAPL", 100), exposed("AAPL", 50, currency="EUR")]
    assert list(charts.exposure(rows, LIGHT).data[0].y) == ["AAPL, USD", "AAPL, EUR"]


# --- tables ---------------------------------------------------------------------------------


def test_limits_say_what_they_are_of_in_their_own_unit() -> None:
    rows = [
        LimitUsage(1, "USD", "gross_exposure", Decimal(50), Decimal(200), Decimal("0.25")),
        LimitUsage(9, "USD", "open_orders", Decimal(0), Decimal(0), None),
    ]
    frame = tables_risk.limits(rows, NAMES)
    assert list(frame["Of"]) == ["200.00 USD", "0"]
    assert list(frame["Account"]) == ["Growth", "9"]
    assert frame["Used"][0] == 0.25


def test_an_alert_says_what_happened_and_why() -> None:
    rows = [make_alert(), make_alert(kind="lost", severity="error", reason_code=None)]
    frame = tables_risk.alerts(rows, NAMES)
    assert frame["What"][0] == (
        "⚠ buy 12,000: denied by our rules. The quantity is above this account's limit. "
        "(ORDER_QUANTITY_EXCEEDS_MAX)"
    )
    assert frame["What"][1] == "⛔ buy 12,000: lost, an operator is needed"


def test_every_kind_of_alert_and_limit_has_words() -> None:
    assert set(tables_risk.ALERTS) == {
        "denied", "rejected", "lost", "overfill", "late_fill", "corrected", "stale_price",
        "no_price", "integrity_break", "recon_break",
    }  # fmt: skip
    assert set(tables_risk.LIMITS) == {
        "order_quantity", "order_notional", "position_quantity", "open_orders",
        "orders_per_minute", "daily_loss", "gross_exposure",
    }  # fmt: skip


def test_attribution_and_costs_show_what_is_not_known_as_a_dash() -> None:
    unknown = tables_risk.attribution([make_part(unrealized_pnl=None, pnl=None)], NAMES, LIGHT)
    assert formats.NONE in unknown.to_html()
    cost = make_cost(slippage=None, slippage_bps=None, time_to_fill_s=None, fees_bps=None)
    assert tables_risk.costs([cost]).to_html().count(formats.NONE) == 4


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, formats.NONE), (0.42, "420 ms"), (9.999, "9,999 ms"), (61.0, "61 s"), (600, "10 min")],
)
def test_how_long_something_took_is_readable(value: float | None, text: str) -> None:
    assert formats.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, formats.NONE), (6.58, "+6.6"), (-0.04, "0.0"), (-12, f"{MINUS}12.0")]
)
def test_basis_points_say_whether_they_were_paid(value: float | None, text: str) -> None:
    assert formats.bps(value) == text
