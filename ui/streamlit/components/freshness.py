"""How old is too old: pure rules for prices and for the broker's link."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from components import formats
from services.models import Health, MarketClock

Color = Literal["green", "orange", "red", "gray"]

# The database denies orders against prices older than this.
PRICE_LIMITS_S = {"replay": 30, "ib": 30, "quantconnect": 120}
PRICE_LIMIT_S = 30
# A bridge reports at least each minute; one report may be missed.
LINK_LATE_S = 75
LINK_DOWN_S = 150
OUTBOX_LATE_S = 5
EXCHANGES = {"XNYS": "NYSE"}


@dataclass(frozen=True, slots=True)
class Sign:
    """What a badge says."""

    text: str
    color: Color
    icon: str
    help: str


def price_age_s(health: Health) -> float | None:
    """The age of the newest price, by the clock of the database."""
    return _age_s(health, health.price_received_at)


def prices_usable(health: Health) -> bool:
    """Whether an order could be checked against these prices."""
    age_s = price_age_s(health)
    return age_s is not None and age_s <= _limit_s(health)


def link_up(health: Health) -> bool:
    """Whether the broker's bridge has been heard of lately."""
    age_s = _age_s(health, health.link_at)
    return age_s is not None and age_s <= LINK_DOWN_S


def prices(health: Health) -> Sign:
    """The badge of the data's age."""
    age_s, limit_s = price_age_s(health), _limit_s(health)
    about = "Age of the newest price. Orders are refused when it is older than {} s."
    if age_s is None:
        return Sign("NO PRICES", "red", "error", about.format(limit_s))
    if age_s > limit_s / 2:
        return Sign(f"STALE {formats.age(age_s)}", "red", "error", about.format(limit_s))
    color: Color = "orange" if age_s > limit_s / 6 else "green"
    return Sign(f"Prices {formats.age(age_s)} old", color, "schedule", about.format(limit_s))


def link(health: Health) -> Sign:
    """The badge of the broker's link."""
    age_s = _age_s(health, health.link_at)
    about = "When the broker's bridge was last heard of."
    if age_s is None:
        return Sign("Broker not seen", "red", "link_off", about)
    if age_s > LINK_DOWN_S:
        return Sign(f"Broker silent {formats.age(age_s)}", "red", "link_off", about)
    color: Color = "orange" if age_s > LINK_LATE_S else "green"
    return Sign(f"Broker {formats.age(age_s)} ago", color, "sensors", about)


def outbox(health: Health) -> Sign | None:
    """A badge only when orders wait longer than they should."""
    waited_s = health.outbox_oldest_s or 0.0
    if waited_s <= OUTBOX_LATE_S:
        return None
    text = f"{health.outbox_pending} to send, {formats.age(waited_s)}"
    return Sign(text, "orange", "hourglass_top", "Orders wait to be sent to the broker.")


def market(clock: MarketClock, now: datetime) -> Sign:
    """The badge of the exchange: open or closed, and for how long."""
    name = EXCHANGES.get(clock.exchange, clock.exchange)
    opens_at, closes_at, changes_at = clock.opens_at, clock.closes_at, clock.changes_at
    if clock.is_open is None or opens_at is None or closes_at is None or changes_at is None:
        about = "The calendar of the exchange is not filled that far; the worker fills it."
        return Sign(f"{name} hours unknown", "orange", "calendar_month", about)
    left = formats.countdown((changes_at - now).total_seconds())
    about = (
        f"{'This' if clock.is_open else 'The next'} session: {formats.minute(opens_at)} to"
        f" {formats.clock_minute(closes_at)} UTC"
        f"{', an early close' if clock.early_close else ''}. Regular hours of the exchange."
    )
    if clock.is_open:
        early = " early" if clock.early_close else ""
        return Sign(f"{name} open, closes{early} in {left}", "green", "storefront", about)
    return Sign(f"{name} closed, opens in {left}", "gray", "bedtime", about)


def _age_s(health: Health, moment: datetime | None) -> float | None:
    return None if moment is None else (health.read_at - moment).total_seconds()


def _limit_s(health: Health) -> int:
    return PRICE_LIMITS_S.get(health.price_source or "", PRICE_LIMIT_S)
