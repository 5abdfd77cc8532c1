"""Resolving a break with the broker: an administrator says what it was."""

from collections.abc import Sequence

import streamlit as st
from components import change_flow, formats, panel
from components.header import Scope
from services import ro_db
from services.models import Alert, User

PHRASE = "RESOLVE"
MEANING = (
    "You have looked into it and say what it was. Nothing is booked or traded by it, and the "
    "account stays as it was switched. A difference that lasts comes back as another break."
)


def fault(reason: str, phrase: str) -> str | None:
    """Why nothing is resolved; None when it may be."""
    if not reason.strip():
        return "Say what it was: the reason is kept in the audit log."
    if phrase.strip() != PHRASE:
        return f"Type {PHRASE} to confirm. Nothing was done."
    return None


@st.fragment(run_every=5)
def resolving(user: User, scope: Scope) -> None:
    """A popover for administrators while there is an open break; else nothing is drawn."""
    if user.role != "admin":
        return
    reading = panel.read("alerts", ro_db.alerts, user, scope.ids)
    rows = [] if reading is None else [row for row in reading.rows if row.break_id is not None]
    if said := change_flow.said():
        st.toast(formats.plain(said.text), icon=":material/check:")
    if rows:
        with st.popover("Resolve a break", icon=":material/handshake:", key="breaks"):
            _form(user, rows, scope)


def _form(user: User, rows: Sequence[Alert], scope: Scope) -> None:
    names = {
        int(row.break_id or 0): f"{row.break_id}: {row.symbol}, "
        f"{scope.names.get(row.account_id, row.account_id)}"
        for row in rows
    }
    with st.form("break", enter_to_submit=False, border=False):
        st.caption(MEANING)
        break_id = st.selectbox("Break", list(names), format_func=names.__getitem__, key="break.of")
        reason = st.text_input("What it was", max_chars=200, key="break.reason")
        phrase = st.text_input(f"Type {PHRASE}", autocomplete="off", key="break.phrase")
        pressed = st.form_submit_button("Resolve", type="primary", width="stretch")
    if not pressed:
        return
    wrong = fault(reason, phrase)
    if wrong:
        st.error(wrong)
        return
    answer = change_flow.resolve_break(user, break_id, reason.strip())
    if answer.kind != "info":
        (st.warning if answer.kind == "warning" else st.error)(formats.plain(answer.text))
        return
    # The form goes with its break, so the answer is told by the next run.
    change_flow.say(answer)
    st.rerun()
