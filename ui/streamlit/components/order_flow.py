"""From a reviewed ticket to a known outcome: one client order id, sent as often as it takes.

The id is minted when the ticket is drawn and kept, in the session and in the address, until the API
has answered about it. Whatever is clicked, repeated, interrupted or reloaded in between goes out
under the same id, and the database makes one order of it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import streamlit as st
from components import outcomes
from components.outcomes import Notice
from services import api_client, ro_db
from services.models import Order, Preview, Ticket, User

ID = "flow.client_order_id"
REVIEW = "flow.review"
SENDING = "flow.sending"
NOTICE = "flow.notice"
ROUND = "flow.round"
PARAMETER = "ticket"
OURS = re.compile(r"ui-[0-9a-f]{32}")
# Far beyond every deadline between here and the commit: silence after it means nothing was placed.
SILENCE_S = 30
# A review left open is asked for anew when the page is drawn again.
REVIEW_S = 120


@dataclass(frozen=True, slots=True)
class Review:
    """A ticket with what the rules said of it."""

    ticket: Ticket
    preview: Preview
    reviewed_at: datetime


@dataclass(frozen=True, slots=True)
class Sending:
    """A ticket that went out and was not answered yet."""

    ticket: Ticket
    client_order_id: str
    sent_at: datetime


def client_order_id(user: User, account_ids: tuple[int, ...]) -> str:
    """The id of the ticket on the screen; minted when there is none."""
    kept: str | None = st.session_state.get(ID)
    if kept is None:
        kept = _from_address(user, account_ids) or _minted()
        st.session_state[ID] = kept
    if st.query_params.get(PARAMETER) != kept:
        st.query_params[PARAMETER] = kept
    return kept


def review(user: User, ticket: Ticket) -> None:
    """Ask what the rules say; a refusal becomes a notice beside the ticket."""
    clear_notice()
    try:
        preview = api_client.preview(user, ticket)
    except api_client.ApiProblem as problem:
        _say(outcomes.refused(problem.code, problem.title, problem.errors))
    except api_client.ApiDown:
        _say(Notice("error", "The API does not answer. Nothing was sent; try again in a moment."))
    else:
        st.session_state[REVIEW] = Review(ticket, preview, datetime.now(UTC))


def reviewing() -> Review | None:
    """The review that waits for the trader's word; an old one has lost its meaning."""
    waiting: Review | None = st.session_state.get(REVIEW)
    if waiting and (datetime.now(UTC) - waiting.reviewed_at).total_seconds() > REVIEW_S:
        back()
        return None
    return waiting


def back() -> None:
    """Leave the review; the ticket stays as it is."""
    st.session_state.pop(REVIEW, None)


def quantity_round() -> int:
    """Which quantity field this is: after an order that went through it begins empty."""
    return int(st.session_state.get(ROUND, 0))


def sending() -> Sending | None:
    """What went out and has no answer yet."""
    return st.session_state.get(SENDING)


def send(user: User, ticket: Ticket) -> None:
    """Send under the ticket's id; called again, the same order is asked about again."""
    unanswered = Sending(ticket, st.session_state[ID], datetime.now(UTC))
    # Before the call: a script that is interrupted here still knows that something went out.
    st.session_state[SENDING] = unanswered
    back()
    try:
        answer = api_client.place(user, ticket, unanswered.client_order_id)
    except api_client.ApiDown:
        return
    except api_client.ApiProblem as problem:
        _refused(problem)
    else:
        settle(outcomes.placed(answer, ticket))


def settle(notice: Notice) -> None:
    """The outcome is known: say it, and give the next order an id of its own."""
    _say(notice)
    st.session_state[ID] = _minted()
    st.session_state.pop(SENDING, None)
    if notice.kind == "success":
        st.session_state[ROUND] = quantity_round() + 1
    if notice.order_id is not None:
        st.query_params["order"] = str(notice.order_id)


def find(user: User, account_ids: tuple[int, ...], unanswered: Sending) -> Order | None:
    """Look in the database for what the API did not answer; raises when it is away as well."""
    ids = tuple({*account_ids, unanswered.ticket.account_id})
    return ro_db.order_by_client_id(user, ids, unanswered.client_order_id)


def silent_for_s(unanswered: Sending) -> float:
    """How long ago it was last sent."""
    return (datetime.now(UTC) - unanswered.sent_at).total_seconds()


def cancel(user: User, order_id: int) -> Notice:
    """Ask for a cancel; asking again is harmless."""
    try:
        return outcomes.cancel_asked(api_client.cancel(user, order_id))
    except api_client.ApiProblem as problem:
        return outcomes.refused(problem.code, problem.title)
    except api_client.ApiDown:
        text = f"No answer about canceling order {order_id}. Its state below is what is known."
        return Notice("warning", f"{text} Canceling again is safe.")


def notice() -> Notice | None:
    """The last outcome."""
    return st.session_state.get(NOTICE)


def clear_notice() -> None:
    """The next order begins."""
    st.session_state.pop(NOTICE, None)


def _refused(problem: api_client.ApiProblem) -> None:
    refusal = outcomes.refused(problem.code, problem.title, problem.errors)
    if problem.status in outcomes.KEEP_TICKET:
        st.session_state.pop(SENDING, None)
        _say(refusal)
    else:
        settle(refusal)


def _from_address(user: User, account_ids: tuple[int, ...]) -> str | None:
    """The id that a reload left in the address, unless the order behind it is recorded."""
    left = st.query_params.get(PARAMETER, "")
    if not OURS.fullmatch(left):
        return None
    try:
        recorded = ro_db.order_by_client_id(user, account_ids, left)
    except ro_db.DatabaseDown:
        return left
    if recorded is None:
        return left
    _say(outcomes.placed(recorded))
    return None


def _minted() -> str:
    return f"ui-{uuid4().hex}"


def _say(said: Notice) -> None:
    st.session_state[NOTICE] = said
