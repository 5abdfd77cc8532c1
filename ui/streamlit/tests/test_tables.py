"""Tables: exact numbers in the cells, signs and arrows in the text, an order's own number."""

from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from components import formats, tables
from components.palette import LIGHT
from pages_rows import NOW, make_day, make_execution, make_order, make_position
from pandas.io.formats.style import Styler
from services.models import LimitUse, Preview, Ticket, TimelineEvent

NAMES = {1: "Growth"}
MINUS = "\N{MINUS SIGN}"


def shown(styler: Styler) -> list[list[str]]:
    """The texts of a table as a grid shows them."""
    body = styler._translate(False, False)["body"]
    return [[cell["display_value"] for cell in row if cell["type"] == "td"] for row in body]


def cell(styler: Styler, column: str, row: int = 0) -> str:
    """One text."""
    return str(shown(styler)[row][list(styler.data.columns).index(column)])


def colors(styler: Styler) -> dict[tuple[int, int], str]:
    """The colors that were laid over cells."""
    styler._compute()
    return {place: dict(rules)["color"] for place, rules in styler.ctx.items() if rules}


def test_a_position_shows_its_profit_with_arrow_sign_and_color() -> None:
    styler = tables.positions([make_position()], NAMES, LIGHT)
    assert cell(styler, "Unrealized P&L") == "▲ +399.31"
    assert cell(styler, "%") == "+1.06 %"
    assert set(colors(styler).values()) == {LIGHT.gain_text}


def test_a_short_position_that_lost_reads_so_without_color() -> None:
    row = make_position(
        quantity=Decimal(-5), market_value=Decimal(-100), unrealized_pnl=Decimal("-1.005")
    )
    styler = tables.positions([row], NAMES, LIGHT)
    assert cell(styler, "Side") == "▼ short"
    assert cell(styler, "Quantity") == f"{MINUS}5"
    assert cell(styler, "Unrealized P&L") == f"▼ {MINUS}1.00"
    assert set(colors(styler).values()) == {LIGHT.loss_text}


def test_a_position_without_a_price_shows_dashes_and_no_zero() -> None:
    row = make_position(last_price=None, market_value=None, unrealized_pnl=None)
    styler = tables.positions([row, make_position()], NAMES, LIGHT)
    for column in ("Last", "Value", "Unrealized P&L", "%"):
        assert cell(styler, column) == formats.NONE


def test_prices_follow_the_tick_size_of_their_own_row() -> None:
    fine = make_position(tick_size=Decimal("0.0001"), last_price=Decimal("1.07225"))
    styler = tables.positions([make_position(), fine], NAMES, LIGHT)
    assert [cell(styler, "Last", row) for row in (0, 1)] == ["190.12", "1.0722"]
    assert cell(styler, "Average") == "188.1235"


def test_cells_stay_exact_decimals() -> None:
    frame = tables.positions([make_position()], NAMES, LIGHT).data
    assert frame["Unrealized P&L"][0] == Decimal("399.31")


def test_numbers_of_any_length_reach_the_grid() -> None:
    long = make_position(average_cost=Decimal(1) / Decimal(3), unrealized_pnl=Decimal("1e25"))
    frame = tables.positions([long, make_position()], NAMES, LIGHT).data
    assert pa.Table.from_pandas(frame).num_rows == 2


@pytest.mark.parametrize(
    ("status", "text", "button"),
    [
        ("new", "sending", "Cancel 1001"),
        ("submitting", "sending", "Cancel 1001"),
        ("submit_unknown", "unknown, checking", "Cancel 1001"),
        ("accepted", "working", "Cancel 1001"),
        ("pending_cancel", "canceling", None),
        ("filled", "filled", None),
        ("denied", "denied", None),
        ("lost", "lost, operator needed", None),
    ],
)
def test_a_state_reads_as_the_database_knows_it(status: str, text: str, button: str | None) -> None:
    order = make_order(status=status)
    assert cell(tables.orders([order], NAMES), "Status") == text
    assert tables.cancel_label(order, {1}) == button


def test_a_cancel_button_stands_only_in_accounts_where_one_may_cancel() -> None:
    assert tables.cancel_label(make_order(account_id=2), {1}) is None
    assert "Cancel" not in tables.orders([make_order()], NAMES).data.columns


@pytest.mark.parametrize(
    ("label", "order_id"),
    [
        ("Cancel 1001", 1001), ("1001", 1001), ("Cancel ", None), ("", None), ("Cancel x", None),
        ("Cancel -1", None), ("Cancel 1²", None), ("9" * 30, None),
    ],
)  # fmt: skip
def test_a_button_names_its_order(label: str, order_id: int | None) -> None:
    assert tables.order_id_of(label) == order_id


def test_a_refusal_says_why_and_a_table_without_one_has_no_such_column() -> None:
    denied = make_order(status="denied", reason_code="TRADING_HALTED")
    assert cell(tables.orders([denied], NAMES), "Why") == "Trading is halted. (TRADING_HALTED)"
    assert "Why" not in tables.orders([make_order()], NAMES).data.columns


def test_a_late_fill_is_flagged() -> None:
    order = make_order(status="canceled", late_fill=True)
    assert cell(tables.orders([order], NAMES), "Status") == "canceled, late fill"


def test_an_account_without_a_name_shows_its_number() -> None:
    assert cell(tables.executions([make_execution(account_id=9)], NAMES), "Account") == "9"


def test_an_execution_shows_milliseconds_and_a_value() -> None:
    styler = tables.executions([make_execution()], NAMES)
    assert cell(styler, "Time (UTC)") == "2026-11-20 15:30:00.000"
    assert cell(styler, "Value") == "19,005.00"


def test_a_timeline_says_how_long_each_step_took() -> None:
    first = TimelineEvent(NOW, NOW, "order", "place", "user:7", None, "new", True, None)
    later = NOW + timedelta(milliseconds=1250)
    second = TimelineEvent(
        later, later, "order", "order_event", "broker:qc:1001", "submitted", "accepted", False,
        "stale", audit_seq=3, audit_hash="0123456789abcdef",
    )  # fmt: skip
    frame = tables.timeline([first, second])
    assert list(frame["After"]) == ["", "+1,250 ms"]
    assert list(frame["State"]) == ["sending", "sent → working"]
    assert frame["What"][1] == "order event: stale (not applied)"
    assert frame["Audit"][1] == "#3 0123456789ab"


def test_steps_that_a_trader_need_not_tell_apart_are_one_state() -> None:
    step = TimelineEvent(NOW, NOW, "order", "begin_send", "w", "new", "submitting", True, None)
    assert list(tables.timeline([step])["State"]) == ["sending"]


def test_days_are_shown_newest_first() -> None:
    days = [make_day(NOW.date(), "5"), make_day(NOW.date() + timedelta(days=1), "-7.5")]
    styler = tables.daily_pnl(days, LIGHT)
    assert [row[2] for row in shown(styler)] == [f"▼ {MINUS}7.50", "▲ +5.00"]


def test_a_preview_says_before_and_after() -> None:
    answer = Preview(
        "accept", None, None, Decimal(1901), Decimal(1), Decimal("190.1"), 1.4, Decimal(-5),
        Decimal(5), Decimal(100), None, (LimitUse("order_notional", Decimal(25), Decimal(100)),),
    )  # fmt: skip
    ticket = Ticket(1, "AAPL", "buy", "market", Decimal(10), None, "day")
    lines = dict(tables.preview(answer, ticket, "USD", Decimal("0.01")).itertuples(index=False))
    assert lines == {
        "Value": "about 1,901.00 USD",
        "Estimated fee": "1.00 USD",
        "Last price": "190.10 USD, 1 s old",
        "Position": f"{MINUS}5 → 5",
        "Cash": "100.00 → — USD",
        "Limit: order notional": "25.00 % of 100.00 USD",
    }


@pytest.mark.parametrize("build", [tables.orders, tables.executions, tables.working])
def test_no_rows_make_an_empty_table(build: object) -> None:
    assert build([], NAMES).data.empty  # type: ignore[operator]
