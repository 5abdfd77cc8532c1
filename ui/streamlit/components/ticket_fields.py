"""The fields of the ticket: only what the route of the chosen account can do."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import streamlit as st
from components import formats, order_flow
from services.models import Account, Capability, Instrument, Ticket

NUMBER_MAX = 999_999_999_999.0
SIDES = {"buy": "▲ Buy", "sell": "▼ Sell"}
TYPES = {"market": "Market", "limit": "Limit", "stop": "Stop", "stop_limit": "Stop-limit"}
TIMES = {
    "day": "Day",
    "gtc": "GTC (until canceled)",
    "gtd": "GTD (until a time)",
    "ioc": "IOC (now or not)",
    "fok": "FOK (all now or not)",
}
LIMITED = ("limit", "stop_limit")
STOPPED = ("stop", "stop_limit")


def types_of(able: Iterable[Capability]) -> list[str]:
    """The order types of a route, in the order of the ticket."""
    known = {row.order_type for row in able}
    return [order_type for order_type in TYPES if order_type in known]


def times_of(able: Iterable[Capability], order_type: str) -> list[str]:
    """The times in force that a route takes for an order type."""
    known = {row.time_in_force for row in able if row.order_type == order_type}
    return [time_in_force for time_in_force in TIMES if time_in_force in known]


def show(
    accounts: dict[int, Account],
    instruments: dict[str, Instrument],
    capabilities: Sequence[Capability],
) -> Ticket | None:
    """The fields; None until they make an order."""
    account = accounts[
        st.selectbox(
            "Account", list(accounts), format_func=lambda key: accounts[key].name,
            key="ticket.account", persist_state="session",
        )
    ]  # fmt: skip
    able = [row for row in capabilities if row.account_id == account.account_id]
    if not able:
        st.info("The broker of this account takes no orders yet. Ask an administrator.")
        return None
    instrument = instruments[
        st.selectbox(
            "Symbol", list(instruments),
            format_func=lambda key: f"{key} · {instruments[key].name}",
            key="ticket.symbol", persist_state="session",
        )
    ]  # fmt: skip
    side = st.segmented_control(
        "Side", list(SIDES), format_func=SIDES.__getitem__, default="buy", required=True,
        key="ticket.side", persist_state="session", width="stretch",
    )  # fmt: skip
    field = f"ticket.quantity.{order_flow.quantity_round()}"
    quantity = number("Quantity", field, instrument.lot_size, "0")
    order_type, time_in_force = _kind(able)
    stop_price, limit_price = _prices(order_type, instrument)
    expires_at = _until() if time_in_force == "gtd" else None
    _limits(account)
    missing = (
        quantity is None
        or (order_type in LIMITED and limit_price is None)
        or (order_type in STOPPED and stop_price is None)
        or (time_in_force == "gtd" and expires_at is None)
    )
    if missing or quantity is None:
        return None
    return Ticket(
        account.account_id, instrument.symbol, side or "buy", order_type, quantity, limit_price,
        time_in_force, stop_price, expires_at,
    )  # fmt: skip


def number(
    label: str, key: str, step: Decimal, placeholder: str, value: Decimal | None = None
) -> Decimal | None:
    """A number with the decimals of its step; exactly what was typed, or None."""
    decimals = max(0, -int(step.normalize().as_tuple().exponent))
    typed = st.number_input(
        label, min_value=0.0, max_value=NUMBER_MAX, value=None if value is None else float(value),
        step=float(step), format=f"%.{decimals}f", placeholder=placeholder, key=key,
        persist_state="session",
    )  # fmt: skip
    # The shortest decimal that reads back as the same float is what the trader typed.
    return Decimal(repr(typed)) if typed else None


def _kind(able: Sequence[Capability]) -> tuple[str, str]:
    with st.container(horizontal=True, gap="small"):
        order_type = st.selectbox(
            "Type", types_of(able), format_func=TYPES.__getitem__,
            key="ticket.type", persist_state="session", width=125,
        )  # fmt: skip
        time_in_force = st.selectbox(
            "Time in force", times_of(able, order_type), format_func=TIMES.__getitem__,
            key="ticket.time_in_force", persist_state="session", width="stretch",
        )  # fmt: skip
    return order_type, time_in_force


def _prices(order_type: str, instrument: Instrument) -> tuple[Decimal | None, Decimal | None]:
    last = formats.price(instrument.last_price, instrument.tick_size)
    stop_price = limit_price = None
    if order_type in STOPPED:
        key = f"ticket.stop_price.{instrument.symbol}"
        stop_price = number("Stop price", key, instrument.tick_size, last)
    if order_type in LIMITED:
        key = f"ticket.limit_price.{instrument.symbol}"
        limit_price = number("Limit price", key, instrument.tick_size, last)
    return stop_price, limit_price


def _until() -> datetime | None:
    """When a GTD order ends; the field holds UTC, as every time on the screen."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(minute=0, second=0, microsecond=0)
    chosen = st.datetime_input(
        "Good until (UTC)", value=tomorrow.replace(tzinfo=None), format="YYYY-MM-DD",
        key="ticket.expires_at", persist_state="session",
    )  # fmt: skip
    return None if chosen is None else chosen.replace(tzinfo=UTC)


def _limits(account: Account) -> None:
    if account.order_quantity_max is not None and account.order_notional_max is not None:
        st.caption(
            f"Limits of an order in {formats.plain(account.name)}: quantity "
            f"{formats.quantity(account.order_quantity_max)}, value "
            f"{formats.money(account.order_notional_max)} {account.currency}"
        )
