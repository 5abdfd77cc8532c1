"""The chosen order, step by step, with the time between the steps."""

import streamlit as st
from components import formats, order_flow, outcomes, panel, tables
from components.header import Scope
from services import ro_db
from services.models import Order, User

CHOICES_MAX = 50


@st.fragment(run_every=2)
def show(user: User, scope: Scope, cancel_in: frozenset[int]) -> None:
    """Which order, what it says, what happened to it."""
    st.subheader("Timeline", anchor=False)
    reading = panel.read("orders", ro_db.orders, user, scope.ids, limit=200)
    if reading is None:
        return
    orders = {row.order_id: row for row in reading.rows}
    if not orders:
        st.info("Each order shows its way here: click, rules, broker, fills.")
        return
    order = orders[_chosen(orders)]
    _summary(user, scope, order, cancel_in)
    steps = panel.read("steps", ro_db.timeline, user, order.order_id)
    if steps is None:
        return
    with panel.frame("timeline", steps):
        st.dataframe(
            tables.timeline(steps.rows),
            hide_index=True, placeholder="—", key="timeline_table", height="content",
            alt=f"Timeline of order {order.order_id}",
        )  # fmt: skip


def _chosen(orders: dict[int, Order]) -> int:
    """The order in the address, else the newest."""
    wanted = tables.order_id_of(st.query_params.get("order", ""))
    options = list(orders)[:CHOICES_MAX]
    if wanted in orders and wanted not in options:
        options.append(wanted)
    current = wanted if wanted in orders else options[0]
    if st.session_state.get("details.order") != current:
        st.session_state["details.order"] = current
    chosen: int = st.selectbox(
        "Order", options, format_func=lambda key: _name(orders[key]), key="details.order",
        on_change=_remember, label_visibility="collapsed", width=360,
    )  # fmt: skip
    return chosen


def _remember() -> None:
    st.query_params["order"] = str(st.session_state["details.order"])


def _name(order: Order) -> str:
    return f"{order.order_id} · {order.side} {formats.quantity(order.quantity)} {order.symbol}"


def _summary(user: User, scope: Scope, order: Order, cancel_in: frozenset[int]) -> None:
    filled = ""
    if order.cum_quantity:
        at = formats.average(order.average_price, order.tick_size)
        filled = f" · filled {formats.quantity(order.cum_quantity)} at {at}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{formats.status(order.status)}** · {outcomes.words(order, order.tick_size)} · "
            f"{formats.plain(scope.names[order.account_id])}{filled}",
            width="content",
        )
        st.caption(f"placed {formats.stamp(order.created_at)} UTC", width="content")
        st.code(order.client_order_id, language=None, width="content")
        if tables.cancel_label(order, cancel_in):
            _cancel_button(user, order)


def _cancel_button(user: User, order: Order) -> None:
    if st.button(f"Cancel order {order.order_id}", key=f"details.cancel.{order.order_id}"):
        said = order_flow.cancel(user, order.order_id)
        st.toast(formats.plain(said.text), duration="long")
