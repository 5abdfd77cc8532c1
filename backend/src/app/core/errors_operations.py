"""What is refused to operators of the outbox and of breaks; more errors are in `errors`."""

from app.core.errors import Conflict, NotFound


class EventNotFound(NotFound):
    """Nothing is owed under this number."""

    code = "event_not_found"
    remedy = "Check event_id in the list of the outbox; what is done is not listed."


class OrderNotLost(Conflict):
    """Only an order that is lost or unknown is resolved by hand."""

    code = "order_not_lost"
    remedy = "Cancel an order that works; one that has ended needs nothing."


class BreakNotFound(NotFound):
    """There is no such break."""

    code = "break_not_found"
    remedy = "Check break_id in the list of breaks."


class BreakNotOpen(Conflict):
    """This break is not open."""

    code = "break_not_open"
    remedy = "One that is suspected opens or goes by itself; one that has ended needs nothing."
