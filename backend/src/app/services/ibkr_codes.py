"""What the numbers and words of Interactive Brokers mean for one of our orders."""

from __future__ import annotations

from enum import StrEnum

# On an order that has shown no sign of life: it was not taken, and will not be.
REJECTS = frozenset(
    {
        103,  # duplicate order id
        107,  # incomplete order
        109,  # price outside the range of the presets, not transmitted
        110,  # price between two ticks
        111,  # time in force and order type do not fit
        113,  # time in force must be DAY
        116,  # dead exchange
        132,  # no clearing account
        133,  # submitting failed
        200,  # no such security, or more than one
        201,  # rejected, reason in the text
        203,  # security not allowed for this account
        387,  # order type not supported there
        388,  # smaller than the smallest order
        391,  # invalid time in force
        434,  # order size is zero
        435,  # no account named
        436,  # no allocation named
    }
)
REJECTED = 201
CANCELED = 202
# Said of a cancel: the order is in a state that cannot be canceled, so it is known there.
CANCEL_REFUSED = frozenset({136, 161, 10148})
# Said of a cancel: no such order. That proves nothing; a question decides.
CANCEL_UNMATCHED = frozenset({135, 10147})
# The order lives on: a text about it, held until the market opens, shares to be located.
WARNINGS = frozenset({105, 165, 329, 399, 404, 492, 10167})
WARNINGS_SYSTEM = range(2100, 2200)
CLIENT_ID_IN_USE = 326

UPSTREAM_LOST = 1100
# The broker is back and has forgotten which prices were asked for.
PRICES_LOST = 1101
UPSTREAM_RESTORED = frozenset({1101, 1102})
SOCKET_RESET = 1300

STATUS_IN_FLIGHT = frozenset({"ApiPending", "PendingSubmit"})
STATUS_WORKING = frozenset({"PreSubmitted", "Submitted", "ApiUpdate"})
STATUS_ENDED = frozenset({"Cancelled", "ApiCancelled"})
STATUS_CANCELING = "PendingCancel"
STATUS_FILLED = "Filled"
# Rejected, or only waiting: which of the two, no document says.
STATUS_INACTIVE = "Inactive"


class Verdict(StrEnum):
    """What a numbered message says about an order."""

    REJECT = "reject"
    CANCELED = "canceled"
    CANCEL_REFUSED = "cancel_refused"
    CANCEL_UNMATCHED = "cancel_unmatched"
    WARNING = "warning"
    UNKNOWN = "unknown"


def verdict_of(code: int) -> Verdict:
    """Judge a message about an order; a number that is not listed proves nothing."""
    if code == CANCELED:
        return Verdict.CANCELED
    if code in REJECTS:
        return Verdict.REJECT
    if code in CANCEL_REFUSED:
        return Verdict.CANCEL_REFUSED
    if code in CANCEL_UNMATCHED:
        return Verdict.CANCEL_UNMATCHED
    if code in WARNINGS or code in WARNINGS_SYSTEM:
        return Verdict.WARNING
    return Verdict.UNKNOWN


def state_of(status: str, *, completed: bool, refused: bool) -> str:
    """Translate a status of the broker into the word of an `order_state`."""
    if status in STATUS_ENDED:
        return "rejected" if refused else "canceled"
    if status == STATUS_FILLED:
        return "filled"
    if status == STATUS_INACTIVE and (completed or refused):
        return "rejected"
    if status in STATUS_WORKING or status == STATUS_CANCELING:
        return "accepted"
    return "submitted"
