"""Orders and executions, live; a button a row to cancel and one to look closer."""

import streamlit as st
from components import change_flow, formats, order_flow, panel, tables
from components.header import Scope
from services import ro_db
from services.models import User

VIEWS = ["Working", "All orders", "Executions"]
STATES = ["all", "open", "filled", "canceled", "refused"]
ROWS_MAX = 200


@st.fragment(run_every=2)
def show(user: User, scope: Scope, cancel_in: frozenset[int], replace_in: frozenset[int]) -> None:
    """The chosen view, its buttons and its age."""
    if change_flow.waits_for_dialog():
        # It belongs to the page: drawn by this fragment it would be drawn anew every two seconds.
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key="blotter_head"):
        view = st.radio(
            "View", VIEWS, key="view", horizontal=True,
            label_visibility="collapsed", bind="query-params",
        )  # fmt: skip
        state = "open"
        if view == "All orders":
            state = st.selectbox(
                "State", STATES, key="state", bind="query-params", width=130,
                label_visibility="collapsed", format_func=str.capitalize,
            )  # fmt: skip
    if view == "Executions":
        _executions(user, scope)
    else:
        _orders(user, scope, cancel_in, replace_in, state)
    _toast()


def _orders(
    user: User,
    scope: Scope,
    cancel_in: frozenset[int],
    replace_in: frozenset[int],
    state: str,
) -> None:
    reading = panel.read(
        "orders", ro_db.orders, user, scope.ids, status_filter=state, limit=ROWS_MAX
    )
    if reading is None:
        return
    if not reading.rows:
        st.info(_empty(state, bool(cancel_in)))
        return
    buttons = ((), ()) if reading.failed else (cancel_in, replace_in)
    with panel.frame("orders", reading):
        st.dataframe(
            tables.orders(reading.rows, scope.names, *buttons),
            hide_index=True, placeholder="—", key=f"orders_table_{state}",
            column_config={
                "Order": st.column_config.ButtonColumn(
                    type="tertiary", width=70, key="picked", on_click=_pick,
                    help="Show the order's timeline",
                ),
                "Cancel": st.column_config.ButtonColumn(
                    "", width=110, key="cancel", on_click=_cancel, args=(user,)
                ),
                "Replace": st.column_config.ButtonColumn(
                    "", width=115, key="replaced", on_click=_replace
                ),
                "Average": st.column_config.Column(width=90),
                # Else it is squeezed to what the other columns leave.
                "Why": st.column_config.TextColumn(width=480),
            },
            alt="Orders",
        )  # fmt: skip
    _cut(len(reading.rows))


def _executions(user: User, scope: Scope) -> None:
    reading = panel.read("executions", ro_db.executions, user, scope.ids, limit=ROWS_MAX)
    if reading is None:
        return
    if not reading.rows:
        st.info("Nothing was filled yet.")
        return
    with panel.frame("executions", reading):
        st.dataframe(
            tables.executions(reading.rows, scope.names),
            hide_index=True, placeholder="—", key="executions_table",
            alt="Executions",
        )  # fmt: skip
    _cut(len(reading.rows))


def _empty(state: str, may_trade: bool) -> str:
    if state == "open":
        return "No working orders." + (" Place one with the ticket." if may_trade else "")
    if state == "all":
        return "No orders yet." + (" Place one with the ticket." if may_trade else "")
    return f"No {state} orders."


def _cut(count: int) -> None:
    if count >= ROWS_MAX:
        st.caption(f"The newest {ROWS_MAX} are shown. Reports export all of them.")


def _pick() -> None:
    order_id = tables.order_id_of(st.session_state.picked.label)
    if order_id is not None:
        st.query_params["order"] = str(order_id)


def _cancel(user: User) -> None:
    """The label names the order: rows may have moved since the trader aimed."""
    order_id = tables.order_id_of(st.session_state.cancel.label)
    if order_id is not None:
        change_flow.say(order_flow.cancel(user, order_id))


def _replace() -> None:
    order_id = tables.order_id_of(st.session_state.replaced.label)
    if order_id is not None:
        change_flow.begin(order_id)


def _toast() -> None:
    said = change_flow.said()
    if said:
        icons = {"error": ":material/error:", "warning": ":material/help:"}
        st.toast(
            formats.plain(said.text), icon=icons.get(said.kind, ":material/info:"), duration="long"
        )
