"""From a wish to change many or running orders to a known outcome: one key until it is answered.

A replace, a cancel-all and a switch are each begun under a key of their own, kept in the session.
What the API did not answer may be sent again under the same key, and counts once.
"""

from dataclasses import dataclass, replace
from uuid import uuid4

import streamlit as st
from components import outcomes
from components.outcomes import Notice
from services import api_client
from services.models import Changes, User

REPLACE = "change.replace"
CANCEL_ALL = "change.cancel_all"
SHOWN = "change.shown"
SAID = "change.said"


@dataclass(frozen=True, slots=True)
class Replacing:
    """An order under change; `sent` is what went out and was not answered yet."""

    order_id: int
    key: str
    sent: Changes | None = None
    refusal: Notice | None = None


@dataclass(frozen=True, slots=True)
class Scoped:
    """Whose trading is switched; 0 is everyone."""

    scope_id: int
    name: str


def begin(order_id: int) -> None:
    """The trader wants to change an order."""
    st.session_state[REPLACE] = Replacing(order_id, _minted())


def replacing() -> Replacing | None:
    """The order under change."""
    return st.session_state.get(REPLACE)


def shown(changing: Replacing) -> None:
    """The page draws the dialog of this change."""
    st.session_state[SHOWN] = changing.order_id


def waits_for_dialog() -> bool:
    """Whether an order is under change that the page does not show yet."""
    changing = replacing()
    return changing is not None and st.session_state.get(SHOWN) != changing.order_id


def leave() -> None:
    """Leave the order as it is known to be."""
    st.session_state.pop(REPLACE, None)
    st.session_state.pop(SHOWN, None)


def send_replace(user: User, changing: Replacing, changes: Changes) -> None:
    """Send under the key of the change; called again, the same change is asked about again."""
    unanswered = replace(changing, sent=changes, refusal=None)
    # Before the call: a script that is interrupted here still knows that something went out.
    st.session_state[REPLACE] = unanswered
    try:
        answer = api_client.replace(user, changing.order_id, changes, changing.key)
    except api_client.ApiDown:
        return
    except api_client.ApiProblem as problem:
        refusal = outcomes.replace_refused(problem.code, problem.title, problem.errors)
        kept = problem.status in outcomes.KEEP_TICKET
        key = changing.key if kept else _minted()
        st.session_state[REPLACE] = Replacing(changing.order_id, key, refusal=refusal)
    else:
        leave()
        say(outcomes.replace_asked(answer))


def cancel_all(user: User, account_id: int, name: str) -> Notice:
    """Ask for the end of all open orders of an account; an unanswered call keeps its key."""
    keys: dict[int, str] = st.session_state.setdefault(CANCEL_ALL, {})
    key = keys.setdefault(account_id, _minted())
    try:
        count = api_client.cancel_all(user, account_id, key)
    except api_client.ApiDown:
        text = f"No answer about canceling the orders of {name}. Asking again is safe."
        return Notice("warning", text)
    except api_client.ApiProblem as problem:
        if problem.status not in outcomes.KEEP_TICKET:
            del keys[account_id]
        return outcomes.refused(problem.code, problem.title)
    del keys[account_id]
    orders = f"{count} open order{'' if count == 1 else 's'}"
    return Notice("info", f"Cancel asked for {orders} of {name}.")


def switch(user: User, action: str, where: Scoped, reason: str, *, cancel_open: bool) -> Notice:
    """Halt, reduce or resume; asking again sets the same state again."""
    try:
        state = api_client.switch(user, action, where.scope_id, reason, cancel_open=cancel_open)
    except api_client.ApiDown:
        text = f"No answer about trading of {where.name}. The head of the page shows its state."
        return Notice("warning", text)
    except api_client.ApiProblem as problem:
        return outcomes.refused(problem.code, problem.title)
    return Notice("info", f"Trading of {where.name} is {state}.")


def resolve_break(user: User, break_id: int, reason: str) -> Notice:
    """Say what a break was; saying it again changes nothing."""
    try:
        api_client.resolve_break(user, break_id, reason)
    except api_client.ApiDown:
        text = f"No answer about break {break_id}. The alerts show whether it is still open."
        return Notice("warning", text)
    except api_client.ApiProblem as problem:
        return outcomes.refused(problem.code, problem.title)
    text = f"Break {break_id} is resolved. Its account trades as it was switched: resume it next."
    return Notice("info", text)


def say(said: Notice) -> None:
    """Leave a word for the next run of the page."""
    st.session_state[SAID] = said


def said() -> Notice | None:
    """The word that was left, once."""
    left: Notice | None = st.session_state.pop(SAID, None)
    return left


def _minted() -> str:
    return f"ui-{uuid4().hex}"
