"""The emergency switches: cancel all, halt, and for administrators reduce and resume."""

from collections.abc import Sequence

import streamlit as st
from components import change_flow, formats
from components.change_flow import Scoped
from components.outcomes import Notice
from services.models import Account, User

EVERYONE = 0
ACTIONS = {
    "cancel_all": "Cancel all orders",
    "halt": "Halt trading",
    "reduce": "Let positions shrink only",
    "resume": "Resume trading",
}
PHRASES = {"cancel_all": "CANCEL ALL", "halt": "HALT", "reduce": "REDUCE", "resume": "RESUME"}
MEANINGS = {
    "cancel_all": "Every open order of the account is canceled, or a cancel is sent for it.",
    "halt": "Every new order is denied, and what is waiting to be sent is not sent any more.",
    "reduce": "Every new order that would open or grow a position is denied.",
    "resume": "Orders are taken again.",
}


def actions_of(role: str) -> list[str]:
    """What a role may do; only an administrator takes a halt back."""
    return list(ACTIONS) if role == "admin" else ["cancel_all", "halt"]


def fault(action: str, scope_id: int, reason: str, phrase: str) -> str | None:
    """Why the switch is not thrown; None when it may be."""
    if action == "cancel_all" and scope_id == EVERYONE:
        return "Choose an account. To stop everyone, halt trading and cancel open orders with it."
    if action != "cancel_all" and not reason.strip():
        return "Say why: the reason is shown to everyone and kept in the audit log."
    if phrase.strip() != PHRASES[action]:
        return f"Type {PHRASES[action]} to confirm. Nothing was done."
    return None


def show(user: User, switchable: Sequence[Account]) -> None:
    """A popover with one switch; nothing is drawn for who may throw none."""
    if not switchable:
        return
    names = {account.account_id: account.name for account in switchable}
    if user.role == "admin":
        names |= {EVERYONE: "Everyone"}
    with st.popover("Emergency", icon=":material/front_hand:", key="emergency", width="stretch"):
        action = st.selectbox(
            "Switch", actions_of(user.role), format_func=ACTIONS.__getitem__, key="switch.action"
        )
        _form(user, action, names)


def _form(user: User, action: str, names: dict[int, str]) -> None:
    with st.form(f"switch.{action}", enter_to_submit=False, border=False):
        st.caption(MEANINGS[action])
        scope_id = st.selectbox(
            "Of", list(names), format_func=names.__getitem__, key=f"switch.of.{action}"
        )
        reason, cancel_open = "", False
        if action != "cancel_all":
            reason = st.text_input("Reason", max_chars=200, key=f"switch.reason.{action}")
        if action == "halt":
            cancel_open = st.checkbox("Cancel open orders as well", key="switch.cancel_open")
        phrase = st.text_input(
            f"Type {PHRASES[action]}", autocomplete="off", key=f"switch.phrase.{action}"
        )
        pressed = st.form_submit_button(ACTIONS[action], type="primary", width="stretch")
    if not pressed:
        return
    wrong = fault(action, scope_id, reason, phrase)
    if wrong:
        st.error(wrong)
        return
    if action == "cancel_all":
        _answer(change_flow.cancel_all(user, scope_id, names[scope_id]))
        return
    where = Scoped(scope_id, names[scope_id])
    _answer(change_flow.switch(user, action, where, reason.strip(), cancel_open=cancel_open))


def _answer(notice: Notice) -> None:
    draw = {"info": st.success, "warning": st.warning}
    draw.get(notice.kind, st.error)(formats.plain(notice.text))
