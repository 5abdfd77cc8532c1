"""The pure parts below the pages: words, ages, statistics, files."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from components import formats, freshness, kpis, outcomes, statistics, windows
from pages_rows import NOW, make_clock, make_day, make_health, make_order, make_summary
from services.models import DailyPnl, MarketClock

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1284310.425", "+1,284,310.42"), ("-1902.555", f"{MINUS}1,902.56"), ("0.004", "0.00"),
        ("-0.004", "0.00"), ("-0", "0.00"), ("1e20", "+100,000,000,000,000,000,000.00"),
    ],
)  # fmt: skip
def test_profit_and_loss_always_says_which_way(value: str, text: str) -> None:
    assert formats.signed_money(Decimal(value)) == text


@pytest.mark.parametrize(
    ("value", "tick", "text"),
    [
        ("190.1", "0.01", "190.10"), ("190.125", "0.01", "190.125"), ("3", "0.25", "3.00"),
        ("1234.5", "1", "1,234.5"), ("0.07000000", "0.0001", "0.0700"),
    ],
)  # fmt: skip
def test_a_price_is_never_shown_rounder_than_it_is(value: str, tick: str, text: str) -> None:
    assert formats.price(Decimal(value), Decimal(tick)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("100", "100"),
        ("0.5", "0.5"),
        ("1000.00000000", "1,000"),
        ("-350", f"{MINUS}350"),
        ("0", "0"),
    ],
)
def test_a_quantity_has_no_idle_zeros(value: str, text: str) -> None:
    assert formats.quantity(Decimal(value)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.9, "0 s"), (17, "17 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h"),
     (200_000, "2 d")],
)  # fmt: skip
def test_an_age_is_said_in_one_unit(seconds: float, text: str) -> None:
    assert formats.age(seconds) == text


@pytest.mark.parametrize("text", ["**x**", "[a](http://x)", ":red[x]", "<b>", "# x", "$x$", "a_b"])
def test_text_from_outside_is_no_markup(text: str) -> None:
    escaped = formats.plain(text)
    assert escaped.replace("\\", "") == text
    assert all(escaped[at - 1] == "\\" for at, mark in enumerate(escaped) if mark in "*[]()<:#$_")


@pytest.mark.parametrize(
    ("age_s", "text", "color", "usable"),
    [(1, "Prices 1 s old", "green", True), (6, "Prices 6 s old", "orange", True),
     (17, "STALE 17 s", "red", True), (31, "STALE 31 s", "red", False)],
)  # fmt: skip
def test_prices_grow_stale_in_steps(age_s: int, text: str, color: str, usable: bool) -> None:
    health = make_health(price_received_at=NOW - timedelta(seconds=age_s))
    sign = freshness.prices(health)
    assert (sign.text, sign.color, freshness.prices_usable(health)) == (text, color, usable)


def test_a_slower_source_is_given_more_time() -> None:
    at = NOW - timedelta(seconds=100)
    slow = make_health(price_received_at=at, price_source="quantconnect")
    assert freshness.prices_usable(slow)
    assert not freshness.prices_usable(make_health(price_received_at=at, price_source="ib"))


def test_no_price_at_all_is_said_and_not_usable() -> None:
    health = make_health(price_received_at=None)
    assert freshness.prices(health).text == "NO PRICES"
    assert not freshness.prices_usable(health)


@pytest.mark.parametrize(("age_s", "up"), [(2, True), (100, True), (151, False)])
def test_a_silent_broker_counts_as_down(age_s: int, up: bool) -> None:
    health = make_health(link_at=NOW - timedelta(seconds=age_s))
    assert freshness.link_up(health) is up
    assert not freshness.link_up(make_health(link_at=None))


def test_waiting_orders_are_a_sign_only_when_they_wait_too_long() -> None:
    assert freshness.outbox(make_health(outbox_pending=3, outbox_oldest_s=1.0)) is None
    sign = freshness.outbox(make_health(outbox_pending=3, outbox_oldest_s=9.0))
    assert sign is not None
    assert sign.text == "3 to send, 9 s"


def test_the_clock_says_open_or_closed_and_when_that_changes() -> None:
    sign = freshness.market(make_clock(), NOW)
    assert (sign.text, sign.color) == ("NYSE open, closes in 5 h 30 min", "green")
    assert "2026-11-20 14:30 to 21:00 UTC" in sign.help
    early = make_clock(early_close=True)
    assert freshness.market(early, NOW).text == "NYSE open, closes early in 5 h 30 min"
    monday = make_clock(is_open=False, changes_at=NOW + timedelta(days=2, hours=17, seconds=1))
    sign = freshness.market(monday, NOW)
    assert (sign.text, sign.color) == ("NYSE closed, opens in 2 d 17 h", "gray")


def test_a_calendar_that_ended_is_said_and_nothing_is_claimed() -> None:
    unknown = MarketClock("XNYS", None, None, None, None, None)
    assert freshness.market(unknown, NOW).text == "NYSE hours unknown"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 min"), (1, "1 min"), (60, "1 min"), (61, "2 min"), (3600, "1 h"), (3660, "1 h 1 min"),
     (86_400, "1 d"), (90_000, "1 d 1 h"), (86_399, "1 d")],
)  # fmt: skip
def test_a_countdown_says_two_units(seconds: int, text: str) -> None:
    assert formats.countdown(seconds) == text


def test_a_denial_says_the_size_that_would_have_passed() -> None:
    order = make_order(
        status="denied", reason_code="ORDER_QUANTITY_EXCEEDS_MAX", quantity_max=Decimal(500)
    )
    said = outcomes.placed(order)
    assert said.kind == "error"
    assert "The largest quantity that would have passed: 500." in said.text


def test_an_unknown_refusal_is_said_in_the_words_of_the_api() -> None:
    assert outcomes.refused("brand_new", "Not today.").text == "Not today. (brand_new)"


def test_amounts_of_different_money_are_never_added_up() -> None:
    names = [card.name for card in kpis.cards([make_summary(1), make_summary(2, currency="EUR")])]
    assert [name for name in names if name.startswith("Equity")] == ["Equity (EUR)", "Equity (USD)"]


def test_the_accounts_of_one_currency_are_added_up() -> None:
    found = {card.name: card for card in kpis.cards([make_summary(1), make_summary(2)])}
    assert found["Equity (USD)"].value == "200,000.00"
    assert found["Day P&L (USD)"].value == "+240.50"
    assert found["Day P&L (USD)"].below == "+0.12 %"
    assert found["Unrealized P&L (USD)"].way < 0
    assert found["Working orders"].value == "2"


def test_a_day_that_is_not_known_is_no_zero() -> None:
    cards = kpis.cards([make_summary(1), make_summary(2, day_pnl=None)])
    assert next(it.value for it in cards if it.name == "Day P&L (USD)") == formats.NONE


def test_positions_without_a_price_are_said_beside_the_equity() -> None:
    assert kpis.cards([make_summary(unpriced=2)])[0].below == "2 positions without a price"
    below = kpis.cards([make_summary(unpriced=1, unconverted=2)])[0].below
    assert below == "1 position without a price, 2 without an exchange rate"


def days(*profits: str) -> list[DailyPnl]:
    """Days from the first of November on, each beginning with 100,000."""
    first = date(2026, 11, 1)
    return [make_day(first + timedelta(days=n), profit) for n, profit in enumerate(profits)]


def figure(name: str, rows: list[DailyPnl]) -> str:
    """The value of one statistic."""
    return next(row.value for row in statistics.statistics(rows) if row.name == name)


def test_a_return_is_compounded_over_the_days() -> None:
    assert figure("Return", days("10000", "-10000")) == f"{MINUS}1.00 %"
    assert figure("Maximum drawdown", days("10000", "-10000")) == f"{MINUS}10.00 %"
    assert statistics.falls(days("10000", "-10000")) == pytest.approx([0.0, -0.1])


def test_winning_days_and_profit_factor_leave_quiet_days_out() -> None:
    rows = days("30", "-10", "0", "10")
    assert figure("Win rate", rows) == "66.67 %"
    assert figure("Profit factor", rows) == "4.00"


def test_turnover_is_what_was_traded_over_the_mean_of_what_worked() -> None:
    rows = days("0", "0")
    assert figure("Turnover", rows) == "10.00 %"
    grown = replace(rows[1], equity_start=Decimal(300_000), traded=Decimal(35_000))
    assert figure("Turnover", [rows[0], grown]) == "20.00 %"
    assert figure("Turnover", [rows[0], replace(rows[1], traded=None)]) == formats.NONE
    assert figure("Turnover", []) == formats.NONE


def test_money_paid_in_counts_as_working_that_day() -> None:
    row = make_day(date(2026, 11, 1), "100", equity_start=Decimal(0), net_flow=Decimal(1000))
    assert statistics.returns([row]).tolist() == [0.1]


def test_a_day_without_money_is_no_division_by_zero() -> None:
    assert statistics.returns([make_day(date(2026, 11, 1), "0", equity_start=Decimal(0))]).size == 0


def test_yearly_figures_need_days_enough_that_differ() -> None:
    few, same = days(*["10"] * 5), days(*["10"] * 40)
    many = days(*["100", "-60"] * 20)
    for name in ("Annual return", "Volatility", "Sharpe ratio", "Sortino ratio"):
        assert figure(name, few) == figure(name, same) == formats.NONE
        assert figure(name, many) != formats.NONE


def test_a_sharpe_ratio_is_mean_over_deviation() -> None:
    # Mean 0.0002, sample deviation 0.00081 of 40 days: 0.0002 / 0.00081 * root of 252.
    assert figure("Sharpe ratio", days(*["100", "-60"] * 20)) == "3.92"


def test_an_annual_return_compounds_to_the_return() -> None:
    found = statistics.figures(days(*["100"] * 125, "-60"))
    assert found.annual_return is not None
    assert found.total_return is not None
    assert (1 + found.annual_return) ** (126 / 252) == pytest.approx(1 + found.total_return)


def test_a_loss_below_all_money_has_no_annual_return() -> None:
    assert statistics.figures(days(*["10", "20"] * 15, "-150000")).annual_return is None


def test_a_sortino_ratio_counts_all_days_below() -> None:
    # Mean 0.0002; 20 of 40 days lose 0.0006: 0.0002 / root of 0.0006^2 / 2, times root of 252.
    assert figure("Sortino ratio", days(*["100", "-60"] * 20)) == "7.48"


@pytest.mark.parametrize("rows", [[], days("0"), days("-5"), days("5")])
def test_any_number_of_days_has_statistics(rows: list[DailyPnl]) -> None:
    assert len(statistics.statistics(rows)) == 12


def test_who_asks_for_a_curve_within_ten_seconds_asks_the_same() -> None:
    start = NOW.replace(second=0)
    same = windows.last(1, start + timedelta(seconds=9))
    assert windows.last(1, start) == same
    assert same[1] > start + timedelta(seconds=9)
    assert same[1] - same[0] == timedelta(days=1)
