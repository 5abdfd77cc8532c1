"""What the trader sees first: what the accounts are worth, hold and have working."""

from datetime import UTC, datetime

import streamlit as st
from components import (
    breaks,
    charts,
    formats,
    header,
    kpis,
    palette,
    panel,
    risk_panels,
    tables,
    windows,
)
from components.auth_gate import require_user
from components.header import Scope
from services import ro_db
from services.models import EquityPoint, User

RANGES = {"1H": 1 / 24, "1D": 1, "1W": 7, "1M": 30, "1Y": 365}
CHART = {"displayModeBar": False}


@st.fragment(run_every=2)
def worth(user: User, scope: Scope) -> None:
    """The cards."""
    summary = panel.read("figures", ro_db.account_summary, user, scope.ids)
    if summary:
        left_out = kpis.unconverted(summary.rows, scope.names)
        if left_out:
            st.warning(formats.plain(left_out), icon=":material/currency_exchange:")
        with panel.frame("worth", summary):
            kpis.draw(kpis.cards(summary.rows))
            rates = kpis.rates_of(summary.rows)
            if rates:
                st.caption(rates)


@st.fragment(run_every=10)
def equity(user: User, scope: Scope, colors: palette.Palette) -> None:
    """The curve, with a mark where something was traded."""
    with st.container(horizontal=True, vertical_alignment="center", key="equity_head"):
        st.subheader("Equity", anchor=False, width="content")
        chosen = st.radio(
            "Range", list(RANGES), index=1, key="range", horizontal=True,
            label_visibility="collapsed", bind="query-params",
        )  # fmt: skip
    points = panel.read("history", curve, user, scope.ids, RANGES[chosen])
    fills = panel.read("executions", ro_db.executions, user, scope.ids)
    if points is None or fills is None:
        return
    if not points.rows:
        st.info("No history in this range yet. It grows while the platform runs.")
        return
    with panel.frame("equity", points):
        st.plotly_chart(
            charts.equity(points.rows, fills.rows, colors),
            theme=None, config=CHART, key="equity_chart",
            alt=f"Equity of the chosen accounts, range {chosen}, with buys and sells.",
        )  # fmt: skip


def curve(user: User, account_ids: tuple[int, ...], days: float) -> list[EquityPoint]:
    """The curve up to now: the question is the range, not the moment it is asked at."""
    return ro_db.equity(user, account_ids, *windows.last(days, datetime.now(UTC)))


@st.fragment(run_every=2)
def positions(user: User, scope: Scope, colors: palette.Palette) -> None:
    """What is held."""
    st.subheader("Positions", anchor=False)
    reading = panel.read("positions", ro_db.positions, user, scope.ids)
    if reading is None:
        return
    held = [row for row in reading.rows if row.quantity]
    if not held:
        st.info("No open positions. Place an order on the Trades page.")
        return
    with panel.frame("positions", reading):
        st.dataframe(
            tables.positions(held, scope.names, colors),
            hide_index=True, placeholder="—", key="positions_table",
            column_config={
                "Last hour": st.column_config.LineChartColumn(width=130, color=colors.line)
            },
            alt="Open positions",
        )  # fmt: skip


@st.fragment(run_every=2)
def working(user: User, scope: Scope) -> None:
    """What waits at the broker or is on its way there."""
    st.subheader("Working orders", anchor=False)
    reading = panel.read("orders", ro_db.open_orders, user, scope.ids)
    if reading is None:
        return
    if not reading.rows:
        st.info("No working orders.")
        return
    with panel.frame("working", reading):
        st.dataframe(
            tables.working(reading.rows, scope.names),
            hide_index=True, placeholder="—", key="working_table", alt="Working orders",
        )  # fmt: skip


user = require_user()
scope = header.show(user, "Dashboard")
colors = palette.for_theme(st.context.theme.type)

worth(user, scope)
equity(user, scope, colors)
positions(user, scope, colors)
working(user, scope)
risk_panels.risk(user, scope, colors)
risk_panels.alerts(user, scope)
breaks.resolving(user, scope)
