"""Who looks at this page: a verified user or nobody.

The contract of a login module, of which another can be named by LOGIN_MODULE:
`authenticate_user()` returns the user of this very run, or None when anything about him is
missing, unclear or over; it shows nothing. Here two things must agree: what the websocket's
handshake stated (`st.user`), and what the session gate had confirmed by the API, which it keeps in
its vault only while the session lives.
"""

import streamlit as st
from gate.identity import identity_of
from gate.vault import get_vault
from services.models import User


def authenticate_user() -> User | None:
    """Return who looks at this page, or None."""
    stated = identity_of(st.user.to_dict())
    if stated is None:
        return None
    held = get_vault().get(stated.session_handle)
    if held is None or held.identity != stated:
        return None
    return User(stated.user_id, stated.role, stated.session_handle, held.email)
