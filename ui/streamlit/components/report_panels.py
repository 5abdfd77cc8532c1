"""The sections of a report, drawn one below the other, and the files to take along."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import streamlit as st
from components import (
    charts,
    exports,
    formats,
    kpis,
    panel,
    report_data,
    statistics,
    tables,
    tables_risk,
    tear_sheet,
)
from components.header import Scope
from components.palette import Palette
from components.report_data import Period, Report
from components.statistics import Statistic
from services import ro_db
from services.models import DailyPnl, User

CHART = {"displayModeBar": False}


def results(
    period: Period, currency: str, days: Sequence[DailyPnl], report: Report, colors: Palette
) -> list[Statistic]:
    """Tiles, days, falls and months of one currency."""
    st.subheader(f"{period.first} to {period.last}, in {currency}", anchor=False)
    figures = statistics.statistics(days)
    with st.container(key=f"statistics_{currency}"):
        for figure in figures:
            st.metric(figure.name, figure.value, help=figure.definition, border=True, height=92)
    left, right = st.columns(2)
    left.markdown("**Daily P&L**")
    left.plotly_chart(
        charts.daily_pnl(days, colors), theme=None, config=CHART,
        key=f"pnl_{currency}", alt=f"Profit and loss by day in {currency}.",
    )  # fmt: skip
    right.markdown("**Drawdown**")
    right.plotly_chart(
        charts.drawdown(days, statistics.falls(days), colors), theme=None, config=CHART,
        key=f"drawdown_{currency}", alt=f"Fall from the best day before, in {currency}.",
    )  # fmt: skip
    months = [month for month in report.months if month.currency == currency]
    st.markdown("**Monthly return**")
    with st.container(key=f"monthly_{currency}"):
        st.plotly_chart(
            charts.monthly(months, colors), theme=None, config=CHART,
            key=f"months_{currency}", alt=f"Return by month in {currency}.",
        )  # fmt: skip
    return figures


def tables_of(days: Sequence[DailyPnl], report: Report, scope: Scope, colors: Palette) -> None:
    """Where the result came from, what trading cost, what was traded, and the days."""
    st.markdown("**Attribution by symbol and strategy, in this period**")
    _table(
        report.parts, lambda: tables_risk.parts(report.parts, scope.names, colors), "Attribution",
        "Nothing was held or traded in this period.",
    )  # fmt: skip
    st.markdown("**The same since the accounts were opened**")
    _table(
        report.attribution,
        lambda: tables_risk.attribution(report.attribution, scope.names, colors),
        "Attribution since opening", "Nothing was traded yet.",
    )  # fmt: skip
    st.markdown("**Cost of trading, against the last price at placing: a plus was paid**")
    _table(
        report.costs, lambda: tables_risk.costs(report.costs),
        "Cost of trading", "No orders were placed in this period.",
    )  # fmt: skip
    st.markdown("**Trades**")
    _table(
        report.trades, lambda: tables.executions(report.trades, scope.names),
        "Trades", "Nothing was filled in this period.",
    )  # fmt: skip
    if len(report.trades) >= report_data.TRADES_MAX:
        st.caption(f"The newest {report_data.TRADES_MAX} are shown. The file holds all of them.")
    st.markdown("**Days**")
    _table(days, lambda: tables.daily_pnl(days, colors), "Profit and loss by day", "")


def _table(rows: Sequence[object], draw: Callable[[], object], name: str, empty: str) -> None:
    if not rows:
        st.caption(empty)
        return
    key = f"report_{name.lower().replace(' ', '_')}"
    st.dataframe(draw(), hide_index=True, placeholder="—", key=key, alt=name)


def unconverted(user: User, scope: Scope) -> None:
    """Say what has no exchange rate and is therefore in no figure."""
    summary = panel.read("figures", ro_db.account_summary, user, scope.ids)
    said = kpis.unconverted(summary.rows, scope.names) if summary else None
    if said:
        st.warning(formats.plain(said), icon=":material/currency_exchange:")


def files(user: User, scope: Scope, period: Period, sheet: Callable[[], str] | None) -> None:
    """Rows as a file, and the report, where there is one, as a page to print.

    Each is made when it is asked for.
    """
    known = report_data.files(user, scope.ids, period)
    with st.container(horizontal=True, vertical_alignment="bottom", key="report_files"):
        chosen = st.selectbox("Take along", list(known), key="reports.what", width=170)
        kinds = {kind.name: kind for kind in exports.FORMATS}
        kind = kinds[st.selectbox("As", list(kinds), key="reports.format", width=120)]
        name, row, rows = known[chosen]
        st.download_button(
            "Download", lambda: kind.write(rows(), row), f"{name}_{period.text}.{kind.suffix}",
            kind.mime, icon=":material/download:", on_click="ignore", key="reports.download",
        )  # fmt: skip
        if sheet is None:
            return
        st.download_button(
            "Tear sheet", lambda: sheet().encode(), f"tear_sheet_{period.text}.html", "text/html",
            icon=":material/print:", on_click="ignore", key="reports.tear_sheet",
            help="One page to print or to send: figures, charts and tables, without any link.",
        )  # fmt: skip


def tear_sheet_of(scope: Scope, period: Period, days: Sequence[DailyPnl], report: Report) -> str:
    """The report as one page of HTML."""
    accounts = ", ".join(account.name for account in scope.accounts)
    return tear_sheet.page(accounts, period, days, report, datetime.now(UTC))


def definitions(figures: Sequence[Statistic]) -> None:
    """What the tiles mean."""
    with st.expander("What the figures mean"):
        for name, definition in {row.name: row.definition for row in figures}.items():
            st.markdown(f"**{name}**: {definition}")
