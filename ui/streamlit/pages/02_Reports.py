"""How it went: results, where they came from, what trading cost, and files to take along."""

from datetime import UTC, datetime
from functools import partial

import streamlit as st
from components import header, palette, panel, report_data, report_panels
from components.auth_gate import require_user

user = require_user()
scope = header.show(user, "Reports")
colors = palette.for_theme(st.context.theme.type)

with st.container(horizontal=True, vertical_alignment="center", key="report_head"):
    chosen = st.radio(
        "Period", list(report_data.PERIODS), index=1, key="period", horizontal=True,
        label_visibility="collapsed", bind="query-params",
    )  # fmt: skip
    st.button("Refresh", icon=":material/refresh:", key="reports.refresh")

period = report_data.period(chosen, datetime.now(UTC))
days = report_data.days(user, scope.ids, period)
if days is None:
    st.stop()
report_panels.unconverted(user, scope)
if not days.rows:
    report_panels.files(user, scope, period, None)
    st.info(
        "Nothing to report in this period yet: the first figures come with the first sample of "
        "what the accounts are worth. Choose a longer period, or refresh in a minute."
    )
    st.stop()
report = report_data.read(user, scope.ids, period)
if report is None:
    st.stop()

sheet = partial(report_panels.tear_sheet_of, scope, period, days.rows, report.rows)
report_panels.files(user, scope, period, sheet)
with panel.frame("report", days):
    figures = []
    for currency in sorted({day.currency for day in days.rows}):
        of_currency = [day for day in days.rows if day.currency == currency]
        figures += report_panels.results(period, currency, of_currency, report.rows, colors)
    report_panels.tables_of(days.rows, report.rows, scope, colors)
report_panels.definitions(figures)
