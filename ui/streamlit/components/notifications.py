"""The dialog in which a user says what he is told of outside of the pages, and where."""

import re
from collections.abc import Callable

import streamlit as st
from components import formats, outcomes
from components.outcomes import Notice
from services import api_client, ro_db
from services.models import Channel, User

KINDS = {
    "fill": "Fills",
    "reject": "Rejected orders",
    "lost": "Lost orders",
    "break": "Differences to the broker",
    "halt": "Halts and resumes",
}
USUAL = ("reject", "lost", "break", "halt")
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
INTERVAL_S = 60
INTERVAL_MIN_S, INTERVAL_MAX_S = 10, 86_400
NEW = "New channel"
OPEN, CHANGED = "notify.opened", "notify.changed"
SAID, SAVED = "notify.said", "notify.saved"
EXAMPLES = (
    "An Apprise address: mailto:// or mailtos://, jsons://host/path (a web hook), slack://, "
    "discord://, tgram://, gchat://, workflows://, mmosts://, ntfys://"
)


def begin() -> None:
    """The user wants to see his channels."""
    st.session_state[OPEN] = True


def leave() -> None:
    """Close, and begin anew the next time."""
    for name in (OPEN, CHANGED, SAID):
        st.session_state.pop(name, None)


def show(user: User) -> None:
    """Open the dialog while it is wanted."""
    if st.session_state.get(OPEN):
        _dialog(user)


@st.dialog("Notifications", icon=":material/notifications:", width="medium", on_dismiss=leave)
def _dialog(user: User) -> None:
    """What there is, and a form for one more or for a change."""
    st.caption(
        "News of your accounts, sent to you by the platform. An address is sealed when it is "
        "saved: nobody can read it back, you neither."
    )
    said: Notice | None = st.session_state.pop(SAID, None)
    if said:
        draw = {"success": st.success, "warning": st.warning}
        draw.get(said.kind, st.error)(formats.plain(said.text))
    try:
        channels = api_client.channels(user)
        names = {account.account_id: account.name for account in ro_db.accounts(user)}
    except (api_client.ApiDown, ro_db.DatabaseDown):
        st.warning("No answer. Close this and open it again in a moment.")
        return
    except api_client.ApiProblem as problem:
        st.error(formats.plain(outcomes.refused(problem.code, problem.title).text))
        return
    for channel in channels:
        _shown(user, channel, names)
    _form(user, {channel.name: channel for channel in channels}, names)


def summary(channel: Channel, names: dict[int, str]) -> str:
    """`Fills, Lost orders; all accounts; a message in 60 s at most`."""
    kinds = ", ".join(KINDS.get(kind, kind) for kind in channel.kinds) or "Nothing"
    where = "all accounts"
    if channel.account_ids is not None:
        where = ", ".join(names.get(it, str(it)) for it in channel.account_ids)
    return f"{kinds}; {where}; at most a message in {channel.interval_s} s"


def state(channel: Channel) -> str:
    """What became of its messages."""
    if not channel.enabled:
        return "Off."
    told = f"Last message {channel.sent_at:%Y-%m-%d %H:%M:%S} UTC." if channel.sent_at else ""
    if channel.last_error:
        told = f"The last try failed: {channel.last_error}."
    owed = f" {channel.pending} to be sent." if channel.pending else ""
    dead = f" {channel.dead} given up: an administrator can send them again."
    return f"{told or 'No message yet.'}{owed}{dead if channel.dead else ''}"


def fault(name: str, kinds: list[str], address: str, known: Channel | None) -> str | None:
    """Why nothing is saved; None when it may be."""
    if not NAME.fullmatch(name):
        return "Name it by letters, digits, - and _, at most 40."
    if not kinds:
        return "Choose at least one kind of news. To be told nothing, remove or switch it off."
    if not address and known is None:
        return "A new channel needs an address."
    return None


def _shown(user: User, channel: Channel, names: dict[int, str]) -> None:
    with st.container(border=True, key=f"channel-{channel.name}"):
        st.markdown(f"**{formats.plain(channel.name)}** · {formats.plain(channel.hint)}")
        st.caption(formats.plain(f"{summary(channel, names)}. {state(channel)}"))
        with st.container(horizontal=True):
            test = st.button("Send a test", key=f"notify.test.{channel.name}")
            change = st.button("Change", key=f"notify.change.{channel.name}")
            remove = st.button("Remove", key=f"notify.remove.{channel.name}")
    if test:
        _done(lambda: api_client.send_test(user, channel.name), "A test is on its way.")
    if remove:
        _done(lambda: api_client.remove_channel(user, channel.name), f"{channel.name} is removed.")
    if change:
        st.session_state[CHANGED] = channel.name
        st.rerun()


def _form(user: User, known: dict[str, Channel], names: dict[int, str]) -> None:
    channel = known.get(st.session_state.get(CHANGED, ""))
    # Of its own keys: another channel begins with what is known of it, and a saved address is gone.
    key = f"notify.form.{st.session_state.get(SAVED, 0)}.{channel.name if channel else ''}"
    with st.form(key, enter_to_submit=False):
        st.markdown(f"**{f'Change {formats.plain(channel.name)}' if channel else NEW}**")
        name = channel.name if channel else st.text_input("Name", max_chars=40, key=f"{key}.name")
        address = st.text_input(
            "Address" if channel is None else "Address (empty: as it is)",
            type="password", max_chars=500, autocomplete="off", key=f"{key}.address",
            help=EXAMPLES,
        )  # fmt: skip
        kinds = st.multiselect(
            "News", list(KINDS), list(channel.kinds if channel else USUAL),
            format_func=KINDS.__getitem__, key=f"{key}.kinds",
        )  # fmt: skip
        chosen = list((channel.account_ids if channel else None) or ())
        # One that the user lost stays in sight: without it the channel would tell of all others.
        account_ids = st.multiselect(
            "Accounts", list(dict.fromkeys([*names, *chosen])), chosen,
            format_func=lambda it: names.get(it, f"{it}, not open to you"),
            placeholder="All that you may see", key=f"{key}.accounts",
        )  # fmt: skip
        interval_s = st.number_input(
            "At most a message in so many seconds", INTERVAL_MIN_S, INTERVAL_MAX_S,
            channel.interval_s if channel else INTERVAL_S, key=f"{key}.interval",
        )  # fmt: skip
        enabled = st.toggle("On", channel.enabled if channel else True, key=f"{key}.on")
        pressed = st.form_submit_button("Save", type="primary", width="stretch")
    if not pressed:
        return
    name = name.strip()
    wrong = fault(name, kinds, address.strip(), channel)
    if channel is None and name in known:
        wrong = f"You have a channel {name}. Change that one, or choose another name."
    if wrong:
        st.error(formats.plain(wrong))
        return
    ids = tuple(account_ids) or None
    wanted = Channel(name, "", tuple(kinds), ids, int(interval_s), enabled)
    _done(lambda: api_client.set_channel(user, wanted, address.strip()), f"{name} is saved.")


def _done(call: Callable[[], None], success: str) -> None:
    """Do it, and say in the next run what came of it; what was typed stays when it was refused."""
    try:
        call()
    except api_client.ApiDown:
        said = Notice("warning", "No answer. The list shows whether it was done; again is safe.")
    except api_client.ApiProblem as problem:
        refused = outcomes.refused(problem.code, problem.title)
        detailed = problem.detail and problem.code == "address_not_allowed"
        said = Notice("error", str(problem.detail)) if detailed else refused
    else:
        said = Notice("success", success)
        st.session_state.pop(CHANGED, None)
        st.session_state[SAVED] = st.session_state.get(SAVED, 0) + 1
    st.session_state[SAID] = said
    st.rerun()
