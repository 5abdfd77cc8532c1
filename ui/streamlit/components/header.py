"""The head of every page: which accounts, how fresh, who is signed in."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st
from components import change_flow, formats, freshness, notifications, order_flow, panel
from services import ro_db
from services.models import Account, User
from services.settings import get_settings

CHOICE = "account"
SIGN_OUT = Path(__file__).parent.parent / "assets" / "sign_out.html"


@dataclass(frozen=True, slots=True)
class Scope:
    """The accounts a page is about."""

    accounts: tuple[Account, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """What the readers are asked for."""
        return tuple(account.account_id for account in self.accounts)

    @property
    def names(self) -> dict[int, str]:
        """How an account is called on the screen."""
        return {account.account_id: account.name for account in self.accounts}


def show(user: User, title: str) -> Scope:
    """Draw the head and answer the chosen accounts; ends the page when there are none."""
    with st.container(key="head", horizontal=True, vertical_alignment="center", gap="small"):
        st.title(title, anchor=False, width="content")
        scope = Scope(_chosen(user))
        _badges(user, scope)
        _menu(user)
    # One dialog at a time: an order under review or change has it.
    if order_flow.reviewing() is None and change_flow.replacing() is None:
        notifications.show(user)
    _switches(user, frozenset(account.account_id for account in scope.accounts))
    return scope


def _chosen(user: User) -> tuple[Account, ...]:
    reading = panel.read("accounts", ro_db.accounts, user)
    if reading is None:
        _menu(user)
        _retry(user)
        st.stop()
    accounts = {str(account.account_id): account for account in reading.rows}
    if not accounts:
        st.info("You are not a member of any account yet. Ask an administrator to add you.")
        _menu(user)
        st.stop()
    picked = st.multiselect(
        "Accounts",
        list(accounts),
        format_func=lambda key: accounts[key].name,
        key=CHOICE,
        placeholder="All accounts",
        label_visibility="collapsed",
        bind="query-params",
        persist_state="session",
        width=230,
    )
    return tuple(accounts[key] for key in picked or accounts)


@st.fragment(run_every=3)
def _retry(user: User) -> None:
    """Draw the page as soon as there is something to draw."""
    try:
        ro_db.accounts(user)
    except ro_db.DatabaseDown:
        return
    st.rerun()


@st.fragment(run_every=5)
def _badges(user: User, scope: Scope) -> None:
    """One row; a fragment stacks what it draws, so it brings the row itself."""
    with st.container(key="badges", horizontal=True, vertical_alignment="center", gap="small"):
        _paper(scope)
        _freshness(user, scope)


def _freshness(user: User, scope: Scope) -> None:
    try:
        health = ro_db.health(user, scope.ids)
        clocks = ro_db.market_clock(user)
    except ro_db.DatabaseDown:
        st.badge("Database away", icon=":material/cloud_off:", color="red")
        return
    for clock in clocks:
        _badge(freshness.market(clock, health.read_at))
    if get_settings().replayed_prices or health.price_source == "replay":
        st.badge(
            "Replayed prices, dates shifted",
            icon=":material/history:",
            color="gray",
            help="Real daily prices of 2009 to 2013, replayed now. Not today's market.",
        )
    for sign in (freshness.prices(health), freshness.link(health), freshness.outbox(health)):
        if sign:
            _badge(sign)


def _badge(sign: freshness.Sign) -> None:
    st.badge(sign.text, icon=f":material/{sign.icon}:", color=sign.color, help=sign.help)


def _paper(scope: Scope) -> None:
    if all(account.paper for account in scope.accounts):
        st.badge("PAPER", icon=":material/science:", color="orange", help="No real money moves.")
    else:
        st.badge("LIVE", icon=":material/bolt:", color="red", help="Orders move real money.")


def _menu(user: User) -> None:
    name = formats.plain(user.email.split("@")[0] or user.role)
    with st.popover(name, icon=":material/account_circle:", key="menu"):
        st.text(user.email or user.user_id)
        st.badge(user.role, icon=":material/badge:")
        st.button(
            "Notifications", icon=":material/notifications:", key="notify.open",
            on_click=notifications.begin,
        )  # fmt: skip
        st.html(SIGN_OUT)


@st.fragment(run_every=5)
def _switches(user: User, chosen: frozenset[int]) -> None:
    """Say where trading is stopped, and why, also to who only looks on."""
    try:
        accounts = ro_db.accounts(user)
    except ro_db.DatabaseDown:
        return
    for account in accounts:
        if account.account_id in chosen and account.trading_state != "active":
            why = formats.plain(account.trading_state_reason or "no reason given")
            st.warning(
                f"**{formats.plain(account.name)}** is {account.trading_state}: {why}",
                icon=":material/front_hand:",
            )
