"""Where orders are placed, watched and canceled; every write goes through the API."""

import streamlit as st
from components import blotter, header, order_details, replacing, switches, ticket
from components.auth_gate import require_user

user = require_user()
scope = header.show(user, "Trades")

tradable = [row for row in scope.accounts if user.role in ("trader", "admin") and row.can_trade]
# An administrator may cancel anywhere, a trader where he trades, a viewer nowhere.
cancelable = scope.accounts if user.role == "admin" else tradable
cancel_in = frozenset(row.account_id for row in cancelable)
replace_in = frozenset(row.account_id for row in tradable)

replacing.show(user, scope, replace_in)
if tradable:
    left, right = st.columns([1, 2.6], gap="medium")
    with left:
        ticket.show(user, scope, tradable)
else:
    left = right = st.container()
    if user.role != "viewer":
        left.info("You may read these accounts but not trade them.")

with left:
    switches.show(user, cancelable)
with right:
    blotter.show(user, scope, cancel_in, replace_in)
    order_details.show(user, scope, cancel_in)
