"""The dialog in which a working order is changed."""

from decimal import Decimal

import streamlit as st
from components import change_flow, formats, outcomes, panel, tables
from components.change_flow import Replacing
from components.header import Scope
from components.ticket_fields import LIMITED, STOPPED, number
from services import ro_db
from services.models import Changes, Instrument, Order, User


def show(user: User, scope: Scope, replace_in: frozenset[int]) -> None:
    """Open the dialog while an order is under change."""
    changing = change_flow.replacing()
    if changing is None:
        return
    orders = panel.read("orders", ro_db.orders, user, scope.ids, limit=200)
    instruments = panel.read("instruments", ro_db.instruments, user)
    if orders is None or instruments is None:
        return
    order = next((row for row in orders.rows if row.order_id == changing.order_id), None)
    known = {row.symbol: row for row in instruments.rows}
    if order is None or (not changing.sent and not tables.replaceable(order, replace_in)):
        change_flow.leave()
    else:
        change_flow.shown(changing)
        _dialog(user, changing, order, known[order.symbol])


@st.dialog("Replace order", icon=":material/edit:", on_dismiss=change_flow.leave)
def _dialog(user: User, changing: Replacing, order: Order, instrument: Instrument) -> None:
    st.markdown(
        f"**{formats.status(order.status)}** · "
        f"{formats.plain(outcomes.words(order, order.tick_size))}"
        f" · filled {formats.quantity(order.cum_quantity)}"
    )
    if changing.refusal:
        st.error(formats.plain(changing.refusal.text))
    if changing.sent:
        _unanswered(user, changing, changing.sent)
        return
    changes = _fields(changing, order, instrument)
    with st.container(horizontal=True):
        send = st.button(
            "Send change", type="primary", shortcut="Ctrl+Enter", width="stretch",
            key=f"replace.send.{changing.key}",
        )  # fmt: skip
        back = st.button("Back", width="stretch", key="replace.back")
    if back:
        change_flow.leave()
        st.rerun()
    if send and changes == Changes():
        st.error("Nothing would change. Name another quantity or price.")
    elif send:
        change_flow.send_replace(user, changing, changes)
        st.rerun()


def _fields(changing: Replacing, order: Order, instrument: Instrument) -> Changes:
    """What differs from the order as it is."""

    def field(label: str, name: str, step: Decimal, now: Decimal | None) -> Decimal | None:
        # Of its own key: another order, or another try, begins with what is known then.
        key = f"replace.{name}.{changing.key}"
        wanted = number(label, key, step, formats.quantity(now), now)
        return None if wanted is None or wanted == now else wanted

    quantity = field("Quantity in all", "quantity", instrument.lot_size, order.quantity)
    stop_price = limit_price = None
    if order.order_type in STOPPED:
        stop_price = field("Stop price", "stop_price", order.tick_size, order.stop_price)
    if order.order_type in LIMITED:
        limit_price = field("Limit price", "limit_price", order.tick_size, order.limit_price)
    st.caption(
        "The rules decide again on sending; the order keeps working until the broker agrees."
    )
    return Changes(quantity, limit_price, stop_price)


def _unanswered(user: User, changing: Replacing, sent: Changes) -> None:
    st.warning(
        "**State unknown.** The API did not answer. The order above is what the database knows. "
        "Sending again is safe: it goes out under the same key and counts once.",
        icon=":material/help:",
    )
    if st.button("Send again", type="primary", width="stretch", key="replace.again"):
        change_flow.send_replace(user, changing, sent)
        st.rerun()
