"""What is refused of changes to orders and of master data; the other errors are in `errors`."""

from app.core.errors import Conflict, NotFound, Unprocessable


class OrderNotReplaceable(Conflict):
    """The order cannot be changed in this state."""

    code = "order_not_replaceable"
    remedy = "Read the order; wait until what is under way is settled, or cancel it."


class QuantityBelowFilled(Conflict):
    """More than that has been executed already."""

    code = "quantity_below_filled"
    remedy = "The quantity is the order's new total: name more than cum_quantity, or cancel it."


class ReplaceDenied(Conflict):
    """The changed order would break a risk rule, so it stays as it is."""

    code = "replace_denied"
    remedy = "See the reason code in errors; ask for a smaller change under a new Idempotency-Key."


class CurrencyFixed(Conflict):
    """An account and an instrument keep their currency."""

    code = "currency_fixed"
    remedy = "Make another account, or another instrument, for another currency."


class MultiplierFixed(Conflict):
    """An instrument keeps its multiplier."""

    code = "multiplier_fixed"
    remedy = "What was booked is counted in it: make an instrument under another symbol."


class UserNotFound(NotFound):
    """There is no such user."""

    code = "user_not_found"
    remedy = "Check user_id; users exist here once they have signed up."


class ReplaceEmpty(Unprocessable):
    """Nothing would change."""

    code = "replace_empty"
    remedy = "Name a quantity or a price that differs from the order's own."


class NameTaken(Unprocessable):
    """Another account has this name."""

    code = "name_taken"
    remedy = "Choose another name."


class ImportRefused(Unprocessable):
    """Some lines cannot be imported, so none was."""

    code = "import_refused"
    remedy = "Correct the lines named in errors and send all lines again."
