"""The order ticket: fields, review, confirmation, and what became of it."""

from decimal import Decimal

import streamlit as st
from components import formats, freshness, order_flow, outcomes, panel, tables, ticket_fields
from components.header import Scope
from components.order_flow import Review, Sending
from services import ro_db
from services.models import Account, Preview, Ticket, User


def show(user: User, scope: Scope, tradable: list[Account]) -> None:
    """Draw the ticket, and the dialog while a review waits."""
    order_flow.client_order_id(user, scope.ids)
    with st.container(border=True, key="ticket"):
        st.subheader("Order ticket", anchor=False)
        reading = panel.read("instruments", ro_db.instruments, user)
        able = panel.read("order types", ro_db.capabilities, user, scope.ids)
        if reading is None or able is None:
            return
        if order_flow.sending():
            _checking(user, scope)
            return
        _outcome()
        instruments = {row.symbol: row for row in reading.rows if row.tradable}
        if not instruments:
            st.info("There is nothing to trade yet. An administrator adds instruments.")
            return
        accounts = {row.account_id: row for row in tradable}
        ticket = ticket_fields.show(accounts, instruments, able.rows)
        _review(user, scope, ticket)
    waiting = order_flow.reviewing()
    if waiting:
        account = accounts.get(waiting.ticket.account_id)
        instrument = instruments.get(waiting.ticket.symbol)
        if account and instrument:
            _confirm(user, waiting, account, instrument.tick_size)
        else:
            order_flow.back()


def _review(user: User, scope: Scope, ticket: Ticket | None) -> None:
    usable, why = _usable(user, scope)
    if why:
        st.warning(why, icon=":material/schedule:")
    pressed = st.button(
        "Review order", type="primary", shortcut="Alt+O", width="stretch",
        key="ticket.review", disabled=not usable,
    )  # fmt: skip
    _watch(user, scope, usable)
    if pressed and ticket is None:
        st.error("Enter a quantity, and the prices and the time that this kind of order needs.")
    elif pressed and ticket:
        order_flow.review(user, ticket)
        st.rerun()


def _usable(user: User, scope: Scope) -> tuple[bool, str]:
    """Whether an order could be checked and sent now, and why not."""
    reading = panel.read("health", ro_db.health, user, scope.ids)
    if reading is None or reading.failed:
        return False, "The database does not answer. Orders wait until it does."
    if not freshness.prices_usable(reading.rows):
        return False, "Prices are too old to check an order against. Orders wait for fresh ones."
    if not freshness.link_up(reading.rows):
        return False, "The broker's link is down. Orders wait until it is back."
    return True, ""


@st.fragment(run_every=3)
def _watch(user: User, scope: Scope, was_usable: bool) -> None:
    """Draw the page anew when orders become possible or impossible."""
    if _usable(user, scope)[0] != was_usable and not order_flow.reviewing():
        st.rerun()


def _outcome() -> None:
    said = order_flow.notice()
    if said:
        draw = {"success": st.success, "info": st.info, "warning": st.warning}
        draw.get(said.kind, st.error)(formats.plain(said.text))


@st.dialog("Confirm order", icon=":material/gavel:", on_dismiss=order_flow.back)
def _confirm(user: User, review: Review, account: Account, tick_size: Decimal) -> None:
    ticket, preview = review.ticket, review.preview
    terms = formats.terms(ticket, tick_size)
    paper = "PAPER" if account.paper else "LIVE"
    st.markdown(
        f"**{ticket_fields.SIDES[ticket.side]} {formats.quantity(ticket.quantity)} "
        f"{ticket.symbol}** · {terms} · "
        f"{formats.plain(account.name)} · **{paper}**"
    )
    _verdict(preview)
    lines = tables.preview(preview, ticket, account.currency, tick_size)
    st.table(lines, border="horizontal", hide_index=True, hide_header=True)
    st.caption(
        f"Checked at {formats.clock(review.reviewed_at)}. The rules decide again on sending."
    )
    with st.container(horizontal=True):
        send = st.button(
            "Send order", type="primary", shortcut="Ctrl+Enter", width="stretch",
            key=f"send.{st.session_state[order_flow.ID]}", disabled=preview.would != "accept",
        )  # fmt: skip
        back = st.button("Back", width="stretch", key="ticket.back")
    if send:
        order_flow.send(user, ticket)
        st.rerun()
    if back:
        order_flow.back()
        st.rerun()


def _verdict(preview: Preview) -> None:
    """Why it would be denied, and what deserves a second look."""
    if preview.would != "accept":
        fits = ""
        if preview.quantity_max is not None:
            fits = (
                f" The largest quantity that passes now: {formats.quantity(preview.quantity_max)}."
            )
        st.error(f"This order would be denied. {formats.reason(preview.reason_code)}{fits}")
    for warning in preview.warnings:
        st.warning(formats.plain(warning))


@st.fragment(run_every=2)
def _checking(user: User, scope: Scope) -> None:
    """An order without an answer: look for it until it is known."""
    unanswered = order_flow.sending()
    if unanswered is None:
        st.rerun()
    try:
        order = order_flow.find(user, scope.ids, unanswered)
    except ro_db.DatabaseDown:
        _unknown(user, unanswered, "Neither the API nor the database answers.", readable=False)
        return
    if order is None:
        _unknown(user, unanswered, "The API did not answer.", readable=True)
        return
    order_flow.settle(outcomes.placed(order, unanswered.ticket))
    st.rerun()


def _unknown(user: User, unanswered: Sending, why: str, *, readable: bool) -> None:
    silent_s = order_flow.silent_for_s(unanswered)
    st.warning(
        f"**State unknown, checking.** {why} Whether "
        f"“{formats.plain(outcomes.words(unanswered.ticket))}” was recorded is being looked up, "
        f"for {formats.age(silent_s)} so far.",
        icon=":material/help:",
    )
    st.caption("Sending again is safe: it goes out under the same order id and counts once.")
    st.code(unanswered.client_order_id, language=None, wrap_lines=True)
    if st.button("Send again", type="primary", width="stretch", key="flow.again"):
        order_flow.send(user, unanswered.ticket)
        st.rerun()
    if readable and silent_s > order_flow.SILENCE_S:
        st.info("It is not recorded, so nothing was placed.")
        if st.button("Drop this order", width="stretch", key="flow.drop"):
            order_flow.settle(outcomes.dropped(unanswered.ticket))
            st.rerun()
