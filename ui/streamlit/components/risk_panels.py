"""What the desk risks: exposure, limits in use, and what needs a look; live."""

import streamlit as st
from components import charts, palette, panel, tables_risk
from components.header import Scope
from services import ro_db
from services.models import User

CHART = {"displayModeBar": False}


@st.fragment(run_every=5)
def risk(user: User, scope: Scope, colors: palette.Palette) -> None:
    """Exposure beside the limits that are used most."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Exposure", anchor=False)
        held = panel.read("exposure", ro_db.exposure, user, scope.ids)
        if held and not held.rows:
            st.info("Nothing is held.")
        elif held:
            with panel.frame("exposure", held):
                st.plotly_chart(
                    charts.exposure(held.rows, colors), theme=None, config=CHART,
                    key="exposure_chart", alt="Long and short exposure by symbol and by strategy.",
                )  # fmt: skip
    with right:
        st.subheader("Limits in use", anchor=False)
        used = panel.read("limits", ro_db.limit_usage, user, scope.ids)
        if used and not used.rows:
            st.info("No limits are set, so nothing may be traded. Ask an administrator.")
        elif used:
            with panel.frame("limits", used):
                st.dataframe(
                    tables_risk.limits(used.rows, scope.names),
                    hide_index=True, placeholder="—", key="limits_table", alt="Limits in use",
                    column_config={
                        "Used": st.column_config.ProgressColumn(
                            format="percent", min_value=0, max_value=1, width=150
                        )
                    },
                )  # fmt: skip


@st.fragment(run_every=5)
def alerts(user: User, scope: Scope) -> None:
    """What went wrong in the last day; one line when nothing did."""
    st.subheader("Alerts", anchor=False)
    reading = panel.read("alerts", ro_db.alerts, user, scope.ids)
    if reading is None:
        return
    if not reading.rows:
        st.info("Nothing in the last 24 hours.")
        return
    with panel.frame("alerts", reading):
        st.dataframe(
            tables_risk.alerts(reading.rows, scope.names),
            hide_index=True, placeholder="—", key="alerts_table", alt="Alerts",
            column_config={"What": st.column_config.TextColumn(width=640)},
        )  # fmt: skip
