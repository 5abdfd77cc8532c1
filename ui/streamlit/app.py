"""The entry of every run: the gate, the look, the way to the three pages."""

from pathlib import Path

import streamlit as st
from components.auth_gate import require_user

HERE = Path(__file__).parent

st.set_page_config(
    page_title="Informania", page_icon=str(HERE / "assets" / "logo.png"), layout="wide"
)
require_user()
st.html(HERE / "assets" / "styles.css")
st.logo(str(HERE / "assets" / "logo.png"), size="large")

st.navigation(
    [
        st.Page("pages/01_Dashboard.py", title="Dashboard", icon=":material/monitoring:"),
        st.Page("pages/03_Trades.py", title="Trades", icon=":material/swap_vert:"),
        st.Page("pages/02_Reports.py", title="Reports", icon=":material/summarize:"),
    ],
    position="top",
).run()
