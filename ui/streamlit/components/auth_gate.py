"""The third door, in front of every page: a signed-in user, or the way to the sign-in page."""

from html import escape
from importlib import import_module

import streamlit as st
from gate.sockets import sign_in_address
from services.logs import get_logger
from services.models import User
from services.settings import get_settings

log = get_logger(__name__)


def require_user() -> User:
    """Return the signed-in user; without one this run of the page ends here."""
    user = _authenticated()
    if user is None:
        _show_signed_out()
        st.stop()
    return user


def _authenticated() -> User | None:
    try:
        user = import_module(get_settings().login_module).authenticate_user()
    except Exception:
        # A door that breaks stays shut.
        log.exception("authentication_failed")
        return None
    return user if isinstance(user, User) else None


def _show_signed_out() -> None:
    address = escape(sign_in_address(st.context.url or "/"), quote=True)
    st.header("You are signed out")
    st.html(f'<p>Your session has ended. <a href="{address}">Sign in again</a> to go on.</p>')
