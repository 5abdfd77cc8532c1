"""What is refused about the outbox, breaks and notifications; more errors are in `errors`."""

from app.core.errors import Conflict, NotFound, Unprocessable


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


class ChannelNotFound(NotFound):
    """There is no such channel."""

    code = "channel_not_found"
    remedy = "Check its name in the list of your channels."


class ChannelsFull(Conflict):
    """Nobody has more channels than this."""

    code = "channels_full"
    remedy = "Change or end one of those you have."


class AddressNotAllowed(Unprocessable):
    """No message may go to this address."""

    code = "address_not_allowed"
    remedy = "Use mailto(s), jsons or a chat service, at a public host and without options."
