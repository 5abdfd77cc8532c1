"""How numbers, times and states read on the screen: pure, exact until the last step."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

from services.models import Order, Ticket

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EM DASH}"
CENT = Decimal("0.01")
STEP_MIN = Decimal("0.00000001")
WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)

# `new` and `submitting` are one thing to a trader: on its way, nothing promised yet.
STATUS_TEXTS = {
    "new": "sending",
    "submitting": "sending",
    "submit_unknown": "unknown, checking",
    "submitted": "sent",
    "accepted": "working",
    "partially_filled": "partly filled",
    "filled": "filled",
    "pending_replace": "replacing",
    "pending_cancel": "canceling",
    "canceled": "canceled",
    "denied": "denied",
    "rejected": "rejected",
    "expired": "expired",
    "lost": "lost, operator needed",
}
REPLACEABLE = frozenset({"new", "accepted", "partially_filled"})
CANCELABLE = frozenset({
    "new", "submitting", "submit_unknown", "submitted", "accepted", "partially_filled",
})  # fmt: skip
TIMES_IN_FORCE = {"day": "day", "gtc": "GTC", "gtd": "GTD", "ioc": "IOC", "fok": "FOK"}
REASON_TEXTS = {
    "TIME_IN_FORCE_NOT_SUPPORTED": "The broker's route does not take this time in force.",
    "INSTRUMENT_NOT_ALLOWED": "This account may not trade this instrument.",
    "POSITION_EXCEEDS_MAX": "The position could grow above this account's limit.",
    "OPEN_ORDERS_EXCEED_MAX": "The account has as many open orders as it may have.",
    "ORDER_RATE_EXCEEDED": "The account places orders faster than its limit.",
    "USER_ORDER_RATE_EXCEEDED": "You place orders faster than your limit.",
    "DAILY_LOSS_EXCEEDED": "The day's loss is at its limit: orders may only shrink a position.",
    "BUYING_POWER_EXCEEDED": "The order needs more buying power than is left.",
    "ORDER_QUANTITY_EXCEEDS_MAX": "The quantity is above this account's limit.",
    "ORDER_NOTIONAL_EXCEEDS_MAX": "The value is above this account's limit.",
    "PRICE_OUTSIDE_COLLAR": "The limit price is too far from the last price.",
    "TRADING_HALTED": "Trading is halted.",
    "TRADING_REDUCING": "Only orders that shrink a position are allowed now.",
    "INSTRUMENT_NOT_TRADABLE": "This instrument cannot be traded.",
    "PRICE_NOT_ON_TICK": "The price is not a multiple of the tick size.",
    "QUANTITY_NOT_ON_LOT": "The quantity is not a multiple of the lot size.",
    "NO_MARKET_PRICE": "There is no market price to check the order against.",
    "STALE_MARKET_PRICE": "The market price is too old to check the order against.",
    "NO_RISK_LIMITS": "This account has no risk limits yet. Ask an administrator.",
    "ORDER_TYPE_NOT_SUPPORTED": "The account's broker cannot do this kind of order.",
    "EXPIRED_BEFORE_SEND": "The order grew too old before it could be sent.",
}


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def rounded(value: Decimal, step: Decimal) -> Decimal:
    """Round half-even to the decimals of `step`; minus zero is zero."""
    return value.quantize(max(step.normalize(), STEP_MIN), context=WIDE) + Decimal(0)


def money(value: Decimal | None) -> str:
    """Two decimals with thousands separators."""
    return NONE if value is None else _minus(f"{rounded(value, CENT):,f}")


def signed_money(value: Decimal | None) -> str:
    """Money that always says which way: plus, minus, or a bare zero."""
    if value is None:
        return NONE
    exact = rounded(value, CENT)
    return _minus(f"{exact:+,f}") if exact else "0.00"


def price(value: Decimal | None, tick_size: Decimal = CENT) -> str:
    """A price with the decimals of its tick size, or all it has when it is finer than that."""
    if value is None:
        return NONE
    fine = value.quantize(STEP_MIN, context=WIDE)
    exact = rounded(fine, tick_size)
    return f"{exact if exact == fine else fine.normalize():,f}"


def average(value: Decimal | None, tick_size: Decimal = CENT) -> str:
    """An average price: two decimals more than the tick size."""
    return NONE if value is None else f"{rounded(value, tick_size.normalize().scaleb(-2)):,f}"


def quantity(value: Decimal | None) -> str:
    """As many decimals as it has, at most eight."""
    if value is None:
        return NONE
    text = f"{value.quantize(STEP_MIN, context=WIDE):,f}".rstrip("0").rstrip(".")
    return _minus("0" if text == "-0" else text)


def percent(value: Decimal | float | None, *, signed: bool = False) -> str:
    """A fraction as percent with two decimals."""
    if value is None:
        return NONE
    number = round(float(value) * 100, 2) + 0.0
    return _minus(f"{number:+,.2f} %" if signed and number else f"{number:,.2f} %")


def bps(value: Decimal | float | None) -> str:
    """Hundredths of a percent with one decimal; a plus says that it was paid."""
    if value is None:
        return NONE
    number = round(float(value), 1) + 0.0
    return _minus(f"{number:+,.1f}" if number else "0.0")


def duration(seconds: float | None) -> str:
    """How long something took: milliseconds while that is readable."""
    if seconds is None:
        return NONE
    return f"{seconds * 1000:,.0f} ms" if seconds < 10 else age(seconds)


def arrow(value: Decimal | float | None) -> str:
    """Which way, for eyes that do not tell the colors apart."""
    if not value:
        return ""
    return "▲" if value > 0 else "▼"


def clock(moment: datetime) -> str:
    """The time of day in UTC."""
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


def clock_minute(moment: datetime) -> str:
    """The minute of the day in UTC, without the zone."""
    return f"{moment.astimezone(UTC):%H:%M}"


def countdown(seconds: float) -> str:
    """How long until something: begun minutes count whole, and two units say it."""
    minutes = max(0, -int(-seconds // 60))
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{rest} min"


def clock_ms(moment: datetime) -> str:
    """The time of day in UTC to the millisecond, without the zone."""
    return stamp_ms(moment).partition(" ")[2]


def stamp(moment: datetime) -> str:
    """Day and time in UTC, without the zone: the column or the panel names it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def minute(moment: datetime) -> str:
    """Day and minute in UTC, without the zone."""
    return stamp(moment)[:-3]


def stamp_ms(moment: datetime) -> str:
    """Day and time in UTC to the millisecond."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03d}"


def age(seconds: float) -> str:
    """How long ago, in the one unit that says it."""
    whole = max(0, int(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def gap(seconds: float) -> str:
    """The time between two events: milliseconds while that is readable."""
    return f"+{seconds * 1000:,.0f} ms" if abs(seconds) < 10 else f"+{age(seconds)}"


def status(value: str) -> str:
    """What a state means to a trader."""
    return STATUS_TEXTS.get(value, value.replace("_", " "))


def reason(code: str | None) -> str:
    """Why, as a sentence, with the code to look up."""
    if not code:
        return ""
    sentence = REASON_TEXTS.get(code)
    return f"{sentence} ({code})" if sentence else code


def terms(order: Order | Ticket, tick_size: Decimal = CENT) -> str:
    """`market, day`, or `stop 189.00 limit 190.10, GTD until 2026-11-30 20:00`."""
    stop, limit = order.stop_price, order.limit_price
    kind = [] if stop is None else [f"stop {price(stop, tick_size)}"]
    kind += [] if limit is None else [f"limit {price(limit, tick_size)}"]
    time_in_force = TIMES_IN_FORCE.get(order.time_in_force, order.time_in_force)
    until = "" if order.expires_at is None else f" until {minute(order.expires_at)}"
    return f"{' '.join(kind) or order.order_type}, {time_in_force}{until}"


def plain(text: str) -> str:
    """Keep text from outside from being read as Markdown: a message is never markup."""
    return "".join(f"\\{mark}" if mark in "\\`*_{}[]()<>#+-.!|~$:^=&" else mark for mark in text)
