"""Panels that say how old they are and keep their last figures when the database is away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NoReturn, TypeVar

import streamlit as st
from components import formats
from services import ro_db

T = TypeVar("T")
KEPT = "panel.kept"
KEPT_MAX = 32
OVER = "panel.session_over"


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What a panel shows, when it was read, and whether a newer read failed since."""

    rows: T
    read_at: datetime
    failed: bool = False


def read(name: str, call: Callable[..., T], *arguments: Any, **options: Any) -> Reading[T] | None:
    """Read for a panel: fresh rows, else the last ones for the same question, else None.

    None means that the panel has nothing to show and has said so.
    """
    question = (name, repr((arguments, options)))
    kept: dict[tuple[str, str], Reading[Any]] = st.session_state.setdefault(KEPT, {})
    try:
        reading = Reading(call(*arguments, **options), datetime.now(UTC))
    except ro_db.NotSignedIn:
        _end()
    except ro_db.DatabaseDown:
        return _last(kept.get(question), name)
    st.session_state.pop(OVER, None)
    kept.pop(question, None)
    kept[question] = reading
    while len(kept) > KEPT_MAX:
        del kept[next(iter(kept))]
    return reading


@contextmanager
def frame(name: str, reading: Reading[Any]) -> Iterator[None]:
    """Draw the figures of a reading with their age below; old ones are greyed."""
    with st.container(key=f"{'stale' if reading.failed else 'live'}_{name}", gap="small"):
        yield
    note(reading)


def note(reading: Reading[Any]) -> None:
    """Say when the figures were read, and how old they are when that is not now."""
    if not reading.failed:
        st.caption(f"Read at {formats.clock(reading.read_at)}")
        return
    seconds = (datetime.now(UTC) - reading.read_at).total_seconds()
    st.markdown(
        f":small[:red[:material/cloud_off: The database does not answer. These figures are of "
        f"{formats.clock(reading.read_at)}, {formats.age(seconds)} old. Trying again.]]"
    )


def _end() -> NoReturn:
    """The session is over: nothing of it stays on the screen, old figures least of all."""
    st.session_state.pop(KEPT, None)
    if not st.session_state.get(OVER):
        st.session_state[OVER] = True
        # From a fragment too, all of the page is drawn anew, and its gate decides.
        st.rerun()
    st.warning("Your session has ended. Reload the page to sign in again.")
    st.stop()


def _last(kept: Reading[T] | None, name: str) -> Reading[T] | None:
    if kept is not None:
        return Reading(kept.rows, kept.read_at, failed=True)
    st.error(
        f"The database does not answer, so {name} cannot be shown. Trying again.",
        icon=":material/cloud_off:",
    )
    return None
