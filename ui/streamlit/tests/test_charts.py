"""Figures: what is drawn, in which colors, and how much of it."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from components import charts
from components.palette import DARK, LIGHT, Palette, for_theme
from pages_rows import NOW, make_day, make_execution
from pages_world import SCREEN
from services.models import EquityPoint

DAYS = [make_day(date(2026, 11, 1), "10"), make_day(date(2026, 11, 2), "-5")]


def points(count: int, currency: str = "USD") -> list[EquityPoint]:
    """A curve with one peak, a point a second."""
    return [
        EquityPoint(NOW + timedelta(seconds=n), currency, Decimal(1000 if n == count // 3 else 10))
        for n in range(count)
    ]


def test_moments_are_naive_utc_whatever_their_zone() -> None:
    tokyo = datetime(2026, 11, 20, 9, tzinfo=timezone(timedelta(hours=9)))
    moments = charts.naive_utc([tokyo])
    assert moments.dtype == np.dtype("datetime64[us]")
    assert moments[0] == np.datetime64("2026-11-20T00:00:00")


@pytest.mark.parametrize("count", [1501, 20_000])
def test_a_long_curve_is_thinned_without_losing_its_ends_and_its_peak(count: int) -> None:
    curve = points(count)
    kept = charts.thinned(curve)
    assert len(kept) <= charts.POINTS_MAX
    assert (kept[0], kept[-1]) == (curve[0], curve[-1])
    assert max(point.equity for point in kept) == 1000
    assert [p.equity_at for p in kept] == sorted({p.equity_at for p in kept})


@pytest.mark.parametrize("count", [0, 1, 1500])
def test_a_short_curve_stays_as_it_is(count: int) -> None:
    assert charts.thinned(points(count)) == points(count)


def test_equity_is_drawn_without_any_point_of_time_that_knows_a_zone() -> None:
    figure = charts.equity(points(10), [make_execution()], LIGHT)
    assert all(trace.x.dtype == np.dtype("datetime64[us]") for trace in figure.data)


def test_each_currency_has_a_line_of_its_own() -> None:
    figure = charts.equity([*points(5), *points(5, "EUR")], [], LIGHT)
    assert [trace.name for trace in figure.data] == ["Equity, EUR", "Equity, USD"]
    assert len({trace.line.color for trace in figure.data}) == 2


def test_trades_are_marked_on_the_line_by_shape_and_name() -> None:
    sides = [make_execution(1), make_execution(2, side="sell")]
    figure = charts.equity(points(10), sides, LIGHT)
    marks = {trace.name: trace for trace in figure.data[1:]}
    assert marks["Buy"].marker.symbol == "triangle-up"
    assert marks["Sell"].marker.symbol == "triangle-down"
    assert marks["Buy"].y[0] == 10
    assert marks["Buy"].customdata[0] == "100 AAPL at 190.05"


def test_a_mark_between_two_points_lies_on_the_line_between_them() -> None:
    line = [EquityPoint(NOW + timedelta(seconds=10 * n), "USD", Decimal(100 * n)) for n in range(3)]
    trade = make_execution(executed_at=NOW + timedelta(seconds=15))
    assert charts.equity(line, [trade], LIGHT).data[1].y[0] == pytest.approx(150)


def test_trades_before_the_line_begins_are_not_drawn() -> None:
    early = make_execution(executed_at=NOW - timedelta(seconds=1))
    assert len(charts.equity(points(10), [early], LIGHT).data) == 1


def test_a_gain_and_a_loss_differ_in_color_and_sign() -> None:
    bars = charts.daily_pnl(DAYS, DARK).data[0]
    assert list(bars.marker.color) == [DARK.gain, DARK.loss]
    assert list(bars.customdata) == ["+10.00", "\N{MINUS SIGN}5.00"]


def test_a_drawdown_is_in_percent() -> None:
    figure = charts.drawdown(DAYS, [0.0, -0.05], LIGHT)
    assert list(figure.data[0].y) == [0.0, -5.0]


@pytest.mark.parametrize("draw", [charts.daily_pnl, lambda d, c: charts.drawdown(d, [], c)])
def test_no_days_make_an_empty_figure(draw: object) -> None:
    assert draw([], LIGHT).to_plotly_json()  # type: ignore[operator]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_a_figure_brings_its_colors_and_no_background(palette: Palette) -> None:
    layout = charts.equity(points(3), [], palette).layout
    assert list(layout.colorway) == list(palette.series)
    assert layout.font.color == palette.text
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"


def test_figures_and_theme_speak_of_the_same_colors() -> None:
    config = (SCREEN / "config.toml").read_text().lower()
    for palette in (LIGHT, DARK):
        for color in (palette.text, palette.gain, palette.loss, palette.gain_text):
            assert color.lower() in config


def test_the_palette_follows_what_the_browser_shows() -> None:
    assert (for_theme("dark"), for_theme("light"), for_theme(None)) == (DARK, LIGHT, LIGHT)


def test_moments_are_compared_in_one_zone() -> None:
    assert charts.naive_utc([datetime(2026, 1, 1, tzinfo=UTC)])[0] == np.datetime64("2026-01-01")


@pytest.mark.parametrize(
    ("values", "tick_format"),
    [(["100000", "100000.60"], ",.2f"), (["100000", "100009.99"], ",.2f"),
     (["100000", "100010"], ",.0f"), (["-5", "5"], ",.0f")],
)  # fmt: skip
def test_no_two_lines_of_an_axis_are_called_alike(values: list[str], tick_format: str) -> None:
    curve = [
        EquityPoint(NOW + timedelta(seconds=n), "USD", Decimal(v)) for n, v in enumerate(values)
    ]
    assert charts.equity(curve, [], LIGHT).layout.yaxis.tickformat == tick_format


def test_what_does_not_move_is_a_line_in_the_middle_between_whole_numbers() -> None:
    flat = [EquityPoint(NOW + timedelta(seconds=n), "USD", Decimal("100000.5")) for n in range(3)]
    axis = charts.equity(flat, [], LIGHT).layout.yaxis
    assert (axis.range, axis.dtick, axis.tick0) == ((99_999.5, 100_001.5), 1, 100_000.5)
    assert axis.tickformat == ",.2f"
