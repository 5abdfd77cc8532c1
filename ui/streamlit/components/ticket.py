"""The order ticket: fields, review, confirmation, and what became of it."""

from decimal import Decimal

import streamlit as st
from components import formats, freshness, order_flow, outcomes, panel, tables
from components.header import Scope
from components.order_flow import Review, Sending
from services import ro_db
from services.models import Account, Instrument, Preview, Ticket, User

NUMBER_MAX = 999_999_999_999.0
SIDES = {"buy": "▲ Buy", "sell": "▼ Sell"}
TIMES = {"day": "Day", "gtc": "GTC (until canceled)"}


def show(user: User, scope: Scope, tradable: list[Account]) -> None:
    """Draw the ticket, and the dialog while a review waits."""
    order_flow.client_order_id(user, scope.ids)
    with st.container(border=True, key="ticket"):
        st.subheader("Order ticket", anchor=False)
        reading = panel.read("instruments", ro_db.instruments, user)
        if reading is None:
            return
        if order_flow.sending():
            _checking(user, scope)
            return
        _outcome()
        instruments = {row.symbol: row for row in reading.rows if row.tradable}
        if not instruments:
            st.info("There is nothing to trade yet. An administrator adds instruments.")
            return
        ticket = _fields({row.account_id: row for row in tradable}, instruments)
        _review(user, scope, ticket)
    waiting = order_flow.reviewing()
    if waiting:
        account = {row.account_id: row for row in tradable}.get(waiting.ticket.account_id)
        instrument = instruments.get(waiting.ticket.symbol)
        if account and instrument:
            _confirm(user, waiting, account, instrument.tick_size)
        else:
            order_flow.back()


def _fields(accounts: dict[int, Account], instruments: dict[str, Instrument]) -> Ticket | None:
    """The fields; None until they make an order."""
    account = accounts[
        st.selectbox(
            "Account", list(accounts), format_func=lambda key: accounts[key].name,
            key="ticket.account", persist_state="session",
        )
    ]  # fmt: skip
    instrument = instruments[
        st.selectbox(
            "Symbol", list(instruments),
            format_func=lambda key: f"{key} · {instruments[key].name}",
            key="ticket.symbol", persist_state="session",
        )
    ]  # fmt: skip
    side = st.segmented_control(
        "Side", list(SIDES), format_func=SIDES.__getitem__, default="buy", required=True,
        key="ticket.side", persist_state="session", width="stretch",
    )  # fmt: skip
    field = f"ticket.quantity.{order_flow.quantity_round()}"
    quantity = _number("Quantity", field, instrument.lot_size, "0")
    order_type, time_in_force = _kind()
    limit_price = None
    if order_type == "limit":
        last = formats.price(instrument.last_price, instrument.tick_size)
        key = f"ticket.limit_price.{instrument.symbol}"
        limit_price = _number("Limit price", key, instrument.tick_size, last)
    _limits(account)
    if quantity is None or (order_type == "limit" and limit_price is None):
        return None
    return Ticket(
        account.account_id, instrument.symbol, side or "buy", order_type, quantity, limit_price,
        time_in_force,
    )  # fmt: skip


def _kind() -> tuple[str, str]:
    with st.container(horizontal=True, gap="small"):
        order_type = st.selectbox(
            "Type", ["market", "limit"], format_func=str.capitalize,
            key="ticket.type", persist_state="session", width=120,
        )  # fmt: skip
        time_in_force = st.selectbox(
            "Time in force", list(TIMES), format_func=TIMES.__getitem__,
            key="ticket.time_in_force", persist_state="session", width="stretch",
        )  # fmt: skip
    return order_type, time_in_force


def _number(label: str, key: str, step: Decimal, placeholder: str) -> Decimal | None:
    """A number with the decimals of its step; exactly what was typed, or None."""
    decimals = max(0, -int(step.normalize().as_tuple().exponent))
    value = st.number_input(
        label, min_value=0.0, max_value=NUMBER_MAX, value=None, step=float(step),
        format=f"%.{decimals}f", placeholder=placeholder, key=key, persist_state="session",
    )  # fmt: skip
    # The shortest decimal that reads back as the same float is what the trader typed.
    return Decimal(repr(value)) if value else None


def _limits(account: Account) -> None:
    if account.order_quantity_max is not None and account.order_notional_max is not None:
        st.caption(
            f"Limits of an order in {formats.plain(account.name)}: quantity "
            f"{formats.quantity(account.order_quantity_max)}, value "
            f"{formats.money(account.order_notional_max)} {account.currency}"
        )


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
        st.error("Enter a quantity, and a price for a limit order.")
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
    terms = formats.terms(ticket.order_type, ticket.limit_price, ticket.time_in_force, tick_size)
    paper = "PAPER" if account.paper else "LIVE"
    st.markdown(
        f"**{SIDES[ticket.side]} {formats.quantity(ticket.quantity)} {ticket.symbol}** · {terms} · "
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
