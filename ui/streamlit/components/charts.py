"""Figures from rows: pure functions, explicit colors, at most 1,500 points a line.

Moments go to plotly as naive UTC numpy datetimes: an aware index costs it a hundredfold.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from components import formats
from components.palette import Palette
from services.models import DailyPnl, EquityPoint, Execution, Exposure
from services.models_reports import MonthlyPnl

POINTS_MAX = 1500
MARKERS_MAX = 200
FEW_DAYS = 12
# Plotly draws about six lines.
NARROW = 10.0
BARS_MAX = 12
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HOUR_MS = 3_600_000
SIDES = (("buy", "triangle-up", "Buy"), ("sell", "triangle-down", "Sell"))


def naive_utc(moments: Iterable[datetime]) -> npt.NDArray[np.datetime64]:
    """Aware moments as plotly takes them fast."""
    utc = [moment.astimezone(UTC).replace(tzinfo=None) for moment in moments]
    return np.array(utc, dtype="datetime64[us]")


def thinned(points: Sequence[EquityPoint], points_max: int = POINTS_MAX) -> list[EquityPoint]:
    """Keep the lowest and the highest of each stretch, so that no peak is lost."""
    if len(points) <= points_max:
        return list(points)
    stretches = (points_max - 2) // 2
    edges = [1 + round(i * (len(points) - 2) / stretches) for i in range(stretches + 1)]
    kept: list[EquityPoint] = [points[0]]
    for start, end in pairwise(edges):
        stretch = sorted(points[start:end], key=lambda point: point.equity)
        kept.extend(sorted(stretch[:: max(1, len(stretch) - 1)], key=lambda p: p.equity_at))
    return [*kept, points[-1]]


def equity(
    points: Sequence[EquityPoint], executions: Sequence[Execution], palette: Palette
) -> go.Figure:
    """What the accounts were worth, a line a currency, with a mark where something was traded."""
    figure = _figure(palette, height=320)
    for color, currency in zip(_cycled(palette), _currencies(points), strict=False):
        line = thinned([point for point in points if point.currency == currency])
        figure.add_trace(_line(line, currency, color))
        for mark in _marks([e for e in executions if e.currency == currency], line, palette):
            figure.add_trace(mark)
    return _money(figure, [float(point.equity) for point in points])


def daily_pnl(days: Sequence[DailyPnl], palette: Palette) -> go.Figure:
    """Profit and loss by day; the sign is in the text as well as in the color."""
    shown = list(days)[-POINTS_MAX:]
    colors = [palette.gain if day.pnl >= 0 else palette.loss for day in shown]
    figure = _figure(palette, height=280)
    figure.add_trace(
        go.Bar(
            x=np.array([day.day for day in shown], dtype="datetime64[D]"),
            y=[float(day.pnl) for day in shown],
            marker={"color": colors, "line": {"width": 0}},
            customdata=[formats.signed_money(day.pnl) for day in shown],
            hovertemplate="%{x|%Y-%m-%d}: %{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_layout(hovermode="closest", bargap=0.35, barcornerradius=2)
    figure.update_xaxes(tickformat="%b %d" if _within_a_year(shown) else "%b %Y")
    return _few_days(_money(figure, [0.0, *(float(day.pnl) for day in shown)]), shown)


def drawdown(days: Sequence[DailyPnl], falls: Sequence[float], palette: Palette) -> go.Figure:
    """How far below the best day before, in percent."""
    figure = _figure(palette, height=280)
    figure.add_trace(
        go.Scatter(
            x=np.array([day.day for day in days], dtype="datetime64[D]"),
            y=[100 * fall for fall in falls],
            mode="lines+markers" if len(days) < 3 else "lines",
            line={"color": palette.loss, "width": 1.6},
            fill="tozeroy",
            fillcolor=palette.fall,
            hovertemplate="%{x|%Y-%m-%d}: %{y:.2f} %<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_xaxes(tickformat="%b %d" if _within_a_year(days) else "%b %Y")
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    if not any(falls):
        figure.update_yaxes(range=[-1, 0.05])
    return _few_days(figure, days)


def monthly(months: Sequence[MonthlyPnl], palette: Palette) -> go.Figure:
    """Returns as a heat map, a row a year; the number stands in each cell."""
    years = sorted({month.month.year for month in months})
    cells = {(it.month.year, it.month.month): it.monthly_return for it in months}
    grid = [[cells.get((year, number)) for number in range(1, 13)] for year in years]
    furthest = max((abs(it) for row in grid for it in row if it is not None), default=0) or 0.01
    figure = _figure(palette, height=64 + 38 * len(years))
    figure.add_trace(
        go.Heatmap(
            x=list(MONTHS),
            y=[str(year) for year in years],
            z=[[None if it is None else 100 * it for it in row] for row in grid],
            text=[
                ["" if it is None else formats.percent(it, signed=True) for it in row]
                for row in grid
            ],
            texttemplate="%{text}",
            hovertemplate="%{y} %{x}: %{text}<extra></extra>",
            hoverongaps=False,
            colorscale=[[0, palette.loss_cell], [0.5, palette.flat_cell], [1, palette.gain_cell]],
            zmid=0,
            zmin=-100 * furthest,
            zmax=100 * furthest,
            xgap=2,
            ygap=2,
            showscale=False,
        )
    )
    figure.update_layout(hovermode="closest")
    # At the right, where a phone shows the newest months.
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, side="right")
    figure.update_xaxes(side="top", categoryorder="array", categoryarray=list(MONTHS))
    return figure


def exposure(rows: Sequence[Exposure], palette: Palette) -> go.Figure:
    """Net exposure as bars, the largest first: symbols, then strategies where there are any."""
    bars = _bars([row for row in rows if row.dimension == "symbol"])
    strategies = [row for row in rows if row.dimension == "strategy"]
    if any(row.name for row in strategies):
        bars += [(f"Strategy {name}", net, gross) for name, net, gross in _bars(strategies)]
    figure = _figure(palette, height=72 + 26 * len(bars))
    figure.add_trace(
        go.Bar(
            y=[name for name, _, _ in bars],
            x=[float(net) for _, net, _ in bars],
            orientation="h",
            marker={"color": [palette.gain if net >= 0 else palette.loss for _, net, _ in bars]},
            customdata=[
                f"net {formats.signed_money(net)}, gross {formats.money(gross)}"
                for _, net, gross in bars
            ],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_layout(hovermode="closest", bargap=0.3, barcornerradius=2)
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(tickformat=",.0f", showgrid=True, zeroline=True)
    return figure


def _bars(rows: Sequence[Exposure]) -> list[tuple[str, Decimal, Decimal]]:
    """Net and gross of the accounts together, by name and currency."""
    found: dict[str, tuple[Decimal, Decimal]] = {}
    several = len({row.currency for row in rows}) > 1
    for row in rows:
        name = row.name or "none"
        key = f"{name}, {row.currency}" if several else name
        net, gross = found.get(key, (Decimal(0), Decimal(0)))
        found[key] = (net + row.net, gross + row.gross)
    largest = sorted(found.items(), key=lambda item: -item[1][1])[:BARS_MAX]
    return [(name, net, gross) for name, (net, gross) in largest]


def _figure(palette: Palette, *, height: int) -> go.Figure:
    """Both themes shine through: the figure brings lines and letters, never a background."""
    axis = {
        "gridcolor": palette.grid,
        "linecolor": palette.grid,
        "zerolinecolor": palette.grid,
        "tickfont": {"color": palette.muted},
        "automargin": True,
        "fixedrange": True,
    }
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 4, "r": 8, "t": 8, "b": 4},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(palette.series),
            "font": {"color": palette.text, "size": 12, "family": "system-ui, sans-serif"},
            "legend": {"orientation": "h", "y": -0.16, "font": {"color": palette.text}},
            "hovermode": "x unified",
            "hoverlabel": {"font": {"family": "system-ui, sans-serif"}},
            "xaxis": {**axis, "showgrid": False},
            "yaxis": axis,
        }
    )


def _line(points: Sequence[EquityPoint], currency: str, color: str) -> go.Scatter:
    return go.Scatter(
        x=naive_utc(point.equity_at for point in points),
        y=[float(point.equity) for point in points],
        name=f"Equity, {currency}",
        mode="lines+markers" if len(points) < 3 else "lines",
        line={"color": color, "width": 1.8},
        hovertemplate="%{y:,.2f}",
    )


def _marks(
    executions: Sequence[Execution], line: Sequence[EquityPoint], palette: Palette
) -> Iterable[go.Scatter]:
    """The newest trades, on the line at the moment they happened."""
    moments = [point.equity_at for point in line]
    for side, symbol, name in SIDES:
        inside = [
            execution
            for execution in sorted(executions, key=lambda e: e.executed_at)
            if execution.side == side and moments and execution.executed_at >= moments[0]
        ][-MARKERS_MAX:]
        if inside:
            heights = np.interp(
                [execution.executed_at.timestamp() for execution in inside],
                [moment.timestamp() for moment in moments],
                [float(point.equity) for point in line],
            )
            yield _mark(inside, heights, symbol, name, palette)


def _mark(
    executions: Sequence[Execution],
    heights: npt.NDArray[np.float64],
    symbol: str,
    name: str,
    palette: Palette,
) -> go.Scatter:
    color = palette.gain if name == "Buy" else palette.loss
    return go.Scatter(
        x=naive_utc(execution.executed_at for execution in executions),
        y=heights,
        name=name,
        mode="markers",
        marker={
            "symbol": symbol,
            "size": 11,
            "color": color,
            "line": {"color": palette.text, "width": 1},
        },
        customdata=[
            f"{formats.quantity(e.quantity)} {e.symbol} at {formats.price(e.price, e.tick_size)}"
            for e in executions
        ],
        hovertemplate="%{customdata}",
    )


def _money(figure: go.Figure, values: Sequence[float]) -> go.Figure:
    """Cents where whole numbers would name two lines alike, and room around what does not move."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    figure.update_yaxes(tickformat=",.0f" if high - low >= NARROW else ",.2f")
    if low == high:
        figure.update_yaxes(range=[low - 1, low + 1], dtick=1, tick0=low)
    return figure


def _few_days(figure: go.Figure, days: Sequence[DailyPnl]) -> go.Figure:
    """A few days would fill the width as walls: leave room before them, and name no day twice."""
    if days and len(days) < FEW_DAYS:
        figure.update_traces(width=16 * HOUR_MS, selector={"type": "bar"})
        last = datetime.combine(days[-1].day, datetime.min.time())
        room = [last - timedelta(days=FEW_DAYS - 0.5), last + timedelta(days=0.5)]
        figure.update_xaxes(range=room)
    return figure


def _within_a_year(days: Sequence[DailyPnl]) -> bool:
    return not days or (days[-1].day - days[0].day).days <= 366


def _currencies(points: Sequence[EquityPoint]) -> list[str]:
    return sorted({point.currency for point in points})


def _cycled(palette: Palette) -> Iterable[str]:
    while True:
        yield from palette.series
