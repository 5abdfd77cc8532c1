"""A report as one page of HTML that stands alone: no script, no link, nothing from a host; pure.

Whatever text comes from the database is escaped here, at one place; the page forbids itself to load
or run anything, so that it stays what it is wherever it is opened.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape

from components import formats, statistics, tables_risk
from components.report_data import Period, Report
from services.models import DailyPnl
from services.models_reports import Attribution, ExecutionCosts, MonthlyPnl, SpanPart

WIDTH, HEIGHT, MARGIN = 720, 150, 6
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light; }
body { font: 13px/1.45 system-ui, sans-serif; color: #16202C; background: #fff;
       max-width: 760px; margin: 2rem auto; padding: 0 1rem; font-variant-numeric: tabular-nums; }
h1 { font-size: 22px; margin: 0; }
h2 { font-size: 15px; margin: 1.6rem 0 .4rem; border-bottom: 1px solid #D5DBE3; }
p { margin: .2rem 0; color: #51606F; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(125px, 1fr)); gap: .5rem;
     margin: .6rem 0; }
dl div { border: 1px solid #D5DBE3; border-radius: 4px; padding: .35rem .5rem; }
dt { color: #51606F; font-size: 11px; }
dd { margin: 0; font-size: 16px; font-weight: 600; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .18rem .4rem; border-bottom: 1px solid #E8ECF1; }
th { color: #51606F; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; display: block; }
.gain { fill: #0072B2; } .loss { fill: #B84A00; }
.line { fill: none; stroke: #0072B2; stroke-width: 1.6; } .zero { stroke: #9BA8B7; }
.fall { fill: #B84A00; fill-opacity: .18; stroke: #B84A00; }
@page { size: A4; margin: 14mm; }
@media print {
  body { margin: 0; max-width: none; font-size: 10px; }
  h2, svg, dl, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  thead { display: table-header-group; }
}
"""


def page(
    accounts: str, period: Period, days: Sequence[DailyPnl], report: Report, now: datetime
) -> str:
    """The whole page; the sections of a currency follow each other."""
    title = f"Tear sheet, {period.first} to {period.last}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(accounts)}</p>",
        f"<p>Made {escape(formats.stamp(now))} UTC by Informania. Days are those of UTC.</p>",
    ]
    for currency in sorted({day.currency for day in days}):
        of_currency = [day for day in days if day.currency == currency]
        months = [month for month in report.months if month.currency == currency]
        parts += _results(currency, of_currency, months)
    parts += _parts(report.parts)
    parts += _attribution(report.attribution)
    parts += _costs(report.costs)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )


def _results(
    currency: str, days: Sequence[DailyPnl], months: Sequence[MonthlyPnl]
) -> Iterable[str]:
    figures = statistics.statistics(days)
    tiles = "".join(
        f"<div><dt>{escape(it.name)}</dt><dd>{escape(it.value)}</dd></div>" for it in figures
    )
    yield f"<h2>Results, {escape(currency)}</h2><dl>{tiles}</dl>"
    yield f"<h2>Daily P&amp;L, {escape(currency)}</h2>"
    yield bars([float(day.pnl) for day in days], "Profit and loss by day")
    yield f"<h2>Drawdown, {escape(currency)}</h2>"
    yield area(statistics.falls(days), "Fall from the best day before")
    yield _table(
        f"Months, {currency}",
        {
            "Month": [f"{it.month:%Y-%m}" for it in months],
            "Return": [formats.percent(it.monthly_return, signed=True) for it in months],
            "P&L": [formats.signed_money(it.pnl) for it in months],
            "Days": [str(it.days) for it in months],
        },
    )
    yield _table(
        f"Definitions, {currency}",
        {"Figure": [it.name for it in figures], "Means": [it.definition for it in figures]},
    )


def _parts(rows: Sequence[SpanPart]) -> Iterable[str]:
    yield _table(
        "Attribution in this period",
        {
            "Symbol": [it.symbol for it in rows],
            "Strategy": [it.strategy or tables_risk.NO_STRATEGY for it in rows],
            "P&L": [formats.signed_money(it.pnl) for it in rows],
            "Fees": [formats.money(it.fees) for it in rows],
            "Traded": [formats.money(it.traded) for it in rows],
            "Held at start": [formats.quantity(it.quantity_start) for it in rows],
            "Held now": [formats.quantity(it.quantity) for it in rows],
            "Currency": [it.currency for it in rows],
        },
    )


def _attribution(rows: Sequence[Attribution]) -> Iterable[str]:
    yield _table(
        "Attribution since the accounts were opened",
        {
            "Symbol": [it.symbol for it in rows],
            "Strategy": [it.strategy or tables_risk.NO_STRATEGY for it in rows],
            "P&L": [formats.signed_money(it.pnl) for it in rows],
            "Realized": [formats.signed_money(it.realized_pnl) for it in rows],
            "Unrealized": [formats.signed_money(it.unrealized_pnl) for it in rows],
            "Fees": [formats.money(it.fees) for it in rows],
            "Currency": [it.currency for it in rows],
        },
    )


def _costs(rows: Sequence[ExecutionCosts]) -> Iterable[str]:
    yield _table(
        "Cost of trading",
        {
            "Symbol": [it.symbol for it in rows],
            "Orders": [str(it.orders) for it in rows],
            "Filled": [formats.percent(it.fill_rate) for it in rows],
            "Traded": [formats.money(it.notional) for it in rows],
            "Slippage": [formats.signed_money(it.slippage) for it in rows],
            "Slippage (bps)": [formats.bps(it.slippage_bps) for it in rows],
            "Fees (bps)": [formats.bps(it.fees_bps) for it in rows],
            "Currency": [it.currency for it in rows],
        },
    )


def _table(title: str, columns: Mapping[str, Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in zip(*columns.values(), strict=True)
    )
    none = "" if lines else "<p>None in this period.</p>"
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>" if lines else none
    return f"<h2>{escape(title)}</h2>{body}"


def bars(values: Sequence[float], title: str) -> str:
    """Bars over and under a line of zero."""
    high, low = max([0.0, *values]), min([0.0, *values])
    scale = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)
    zero = MARGIN + high * scale
    step = WIDTH / max(len(values), 12)
    shapes = "".join(
        f'<rect class="{"gain" if value >= 0 else "loss"}" x="{step * at + step * 0.15:.2f}" '
        f'y="{min(zero, zero - value * scale):.2f}" width="{step * 0.7:.2f}" '
        f'height="{max(abs(value) * scale, 0.5):.2f}"/>'
        for at, value in enumerate(values)
    )
    line = f'<line class="zero" x1="0" x2="{WIDTH}" y1="{zero:.2f}" y2="{zero:.2f}"/>'
    return _picture(title, line + shapes, f"{_money(low)} to {_money(high)}")


def area(falls: Sequence[float], title: str) -> str:
    """What lies under zero, filled."""
    deepest = min([-0.01, *falls])
    step = WIDTH / max(len(falls) - 1, 1)
    scale = (HEIGHT - 2 * MARGIN) / -deepest
    points = [(step * at, MARGIN - fall * scale) for at, fall in enumerate(falls)]
    last = points[-1][0] if points else 0
    outline = [(0.0, float(MARGIN)), *points, (last, float(MARGIN))]
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in outline)
    shape = f'<polygon class="fall" points="{path}"/>'
    return _picture(title, shape, f"deepest {formats.percent(min(falls, default=0))}")


def _picture(title: str, shapes: str, caption: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{shapes}</svg><p>{escape(caption)}</p>"
    )


def _money(value: float) -> str:
    return formats.signed_money(Decimal(repr(value)))
