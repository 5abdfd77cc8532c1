"""How the days went: profit and loss, statistics with their definitions, files to take along."""

from datetime import UTC, datetime, timedelta
from functools import partial

import streamlit as st
from components import charts, exports, fills, header, palette, panel, statistics, tables
from components.auth_gate import require_user
from services import ro_db
from services.models import DailyPnl, Execution

PERIODS = {"1W": 7, "1M": 30, "3M": 91, "1Y": 365, "All": 3_650}
CHART = {"displayModeBar": False}

user = require_user()
scope = header.show(user, "Reports")
colors = palette.for_theme(st.context.theme.type)

with st.container(horizontal=True, vertical_alignment="center", key="report_head"):
    period = st.radio(
        "Period", list(PERIODS), index=1, key="period", horizontal=True,
        label_visibility="collapsed", bind="query-params",
    )  # fmt: skip
    st.button("Refresh", icon=":material/refresh:", key="reports.refresh")

until = datetime.now(UTC)
since = datetime.combine(
    until.date() - timedelta(days=PERIODS[period] - 1), datetime.min.time(), UTC
)
reading = panel.read(
    "days", ro_db.daily_pnl, user, scope.ids, from_day=since.date(), to_day=until.date()
)
if reading is None:
    st.stop()
if not reading.rows:
    st.info("No days to report in this period. Choose a longer one, or come back after a day.")
    st.stop()


def trades() -> bytes:
    """Read when the button is pressed, not before."""
    page = partial(ro_db.executions, user, scope.ids)
    return exports.to_csv(fills.between(page, since, until), Execution)


with panel.frame("report", reading):
    for currency in sorted({day.currency for day in reading.rows}):
        days = [day for day in reading.rows if day.currency == currency]
        st.subheader(f"{period}, {currency}", anchor=False)
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
    st.markdown("**Days**")
    st.dataframe(
        tables.daily_pnl(reading.rows, colors), hide_index=True, placeholder="—", key="days_table",
        alt="Profit and loss by day",
    )  # fmt: skip

with st.container(horizontal=True):
    span = f"{since:%Y-%m-%d}_{until:%Y-%m-%d}"
    st.download_button(
        "Days as CSV", exports.to_csv(reading.rows, DailyPnl), f"daily_pnl_{span}.csv", "text/csv",
        icon=":material/download:", on_click="ignore", key="reports.days",
    )  # fmt: skip
    st.download_button(
        "Executions as CSV", trades, f"executions_{span}.csv", "text/csv",
        icon=":material/download:", on_click="ignore", key="reports.executions",
    )  # fmt: skip
with st.expander("What the figures mean"):
    for name, definition in {row.name: row.definition for row in figures}.items():
        st.markdown(f"**{name}**: {definition}")
