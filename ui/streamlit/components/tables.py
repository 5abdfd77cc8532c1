"""Tables from rows: pure functions from the database's exact numbers to what a grid shows.

Cells keep exact decimals, already rounded to what is shown, so that a grid sorts and exports what
the eye sees; the text of a cell is laid over it by a Styler.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal

import pandas as pd
from components import formats
from components.palette import Palette
from pandas.io.formats.style import Styler
from services.models import (
    DailyPnl,
    Execution,
    LimitUse,
    Order,
    Position,
    Preview,
    Ticket,
    TimelineEvent,
)

Names = Mapping[int, str]
Format = Callable[[Decimal | None], str]


def positions(rows: Sequence[Position], names: Names, palette: Palette) -> Styler:
    """Open positions: what is held, what it cost, what it is worth, how it went lately."""
    frame = pd.DataFrame(
        {
            "Symbol": [row.symbol for row in rows],
            "Side": ["▲ long" if row.quantity > 0 else "▼ short" for row in rows],
            "Quantity": cells([row.quantity for row in rows], formats.STEP_MIN),
            "Unrealized P&L": cells([row.unrealized_pnl for row in rows]),
            "%": [_return(row) for row in rows],
            "Last": _prices([row.last_price for row in rows], rows),
            "Average": _prices([row.average_cost for row in rows], rows, finer=2),
            "Value": cells([row.market_value for row in rows]),
            "Currency": [row.currency for row in rows],
            "Account": [_named(names, row.account_id) for row in rows],
            "Last hour": [[float(price) for price in row.recent_prices] for row in rows],
        }
    )
    styler = styled(
        frame,
        {
            "Quantity": formats.quantity,
            "Average": _as_is,
            "Last": _as_is,
            "Value": formats.money,
            "Unrealized P&L": pnl,
            "%": lambda value: formats.percent(value, signed=True),
        },
    )
    return colored(styler, ["Unrealized P&L", "%"], palette)


def orders(
    rows: Sequence[Order],
    names: Names,
    cancel_in: Collection[int] = (),
    replace_in: Collection[int] = (),
) -> Styler:
    """Orders as the database knows them, with buttons to cancel and replace in those accounts.

    All button columns carry the order's own number: rows move while the trader aims, so a row's
    place never says which order was meant.
    """
    columns: dict[str, object] = {"Order": [str(row.order_id) for row in rows]}
    if cancel_in:
        columns |= {"Cancel": [cancel_label(row, cancel_in) for row in rows]}
    if any(replaceable(row, replace_in) for row in rows):
        columns |= {"Replace": [_replace_label(row, replace_in) for row in rows]}
    columns |= {
        "Symbol": [row.symbol for row in rows],
        "Side": [_side(row.side) for row in rows],
        "Quantity": cells([row.quantity for row in rows], formats.STEP_MIN),
        "Terms": [_terms(row) for row in rows],
        "Status": [_status(row) for row in rows],
        "Filled": cells([row.cum_quantity for row in rows], formats.STEP_MIN),
        "Average": _prices([row.average_price for row in rows], rows, finer=2),
    }
    if any(row.reason_code for row in rows):
        columns |= {"Why": [formats.reason(row.reason_code) for row in rows]}
    columns |= {
        "Currency": [row.currency for row in rows],
        "Account": [_named(names, row.account_id) for row in rows],
        "Placed (UTC)": [formats.stamp(row.created_at) for row in rows],
    }
    return styled(
        pd.DataFrame(columns),
        {"Quantity": formats.quantity, "Filled": formats.quantity, "Average": _as_is},
    )


def cancel_label(order: Order, cancel_in: Collection[int]) -> str | None:
    """What the cancel button of an order says; None where there is nothing to cancel."""
    able = order.status in formats.CANCELABLE and order.account_id in cancel_in
    return f"Cancel {order.order_id}" if able else None


def replaceable(order: Order, replace_in: Collection[int]) -> bool:
    """Whether an order may be changed now, and by this user."""
    return order.status in formats.REPLACEABLE and order.account_id in replace_in


def _replace_label(order: Order, replace_in: Collection[int]) -> str | None:
    return f"Replace {order.order_id}" if replaceable(order, replace_in) else None


def order_id_of(label: str) -> int | None:
    """The order a button label names, or None when it names none."""
    number = label.removeprefix("Cancel ").removeprefix("Replace ").strip()
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None


def working(rows: Sequence[Order], names: Names) -> Styler:
    """The short form for the dashboard."""
    frame = orders(rows, names).data
    columns = ["Symbol", "Side", "Quantity", "Terms", "Status", "Filled", "Currency", "Account"]
    return styled(frame[columns], {"Quantity": formats.quantity, "Filled": formats.quantity})


def executions(rows: Sequence[Execution], names: Names) -> Styler:
    """Fills, newest first."""
    frame = pd.DataFrame(
        {
            "Time (UTC)": [formats.stamp_ms(row.executed_at) for row in rows],
            "Symbol": [row.symbol for row in rows],
            "Side": [_side(row.side) for row in rows],
            "Quantity": cells([row.quantity for row in rows], formats.STEP_MIN),
            "Price": _prices([row.price for row in rows], rows),
            "Value": cells([row.notional for row in rows]),
            "Currency": [row.currency for row in rows],
            "Fee": cells([row.fee for row in rows]),
            "Fee currency": [row.fee_currency for row in rows],
            "Account": [_named(names, row.account_id) for row in rows],
            "Order": [str(row.order_id) for row in rows],
        }
    )
    return styled(
        frame,
        {
            "Quantity": formats.quantity,
            "Price": _as_is,
            "Value": formats.money,
            "Fee": formats.money,
        },
    )


def timeline(rows: Sequence[TimelineEvent]) -> pd.DataFrame:
    """What happened to an order, with the time between the steps."""
    before = [None, *rows][: len(rows)]
    gaps = [
        formats.gap((row.recorded_at - last.recorded_at).total_seconds()) if last else ""
        for row, last in zip(rows, before, strict=True)
    ]
    return pd.DataFrame(
        {
            "UTC": [formats.clock_ms(row.recorded_at) for row in rows],
            "After": gaps,
            "Where": [row.origin for row in rows],
            "What": [_event(row) for row in rows],
            "State": [_move(row) for row in rows],
            "By": [row.source for row in rows],
            "Audit": [_audit(row) for row in rows],
        }
    )


def daily_pnl(rows: Sequence[DailyPnl], palette: Palette) -> Styler:
    """Days, newest first."""
    days = list(reversed(rows))
    frame = pd.DataFrame(
        {
            "Day (UTC)": [row.day.isoformat() for row in days],
            "Currency": [row.currency for row in days],
            "P&L": cells([row.pnl for row in days]),
            "Equity at start": cells([row.equity_start for row in days]),
            "Equity at end": cells([row.equity_end for row in days]),
            "Paid in or out": cells([row.net_flow for row in days]),
            "Fees": cells([row.fees for row in days]),
            "Executions": [row.executions for row in days],
        }
    )
    texts = {
        "P&L": pnl,
        "Equity at start": formats.money,
        "Equity at end": formats.money,
        "Paid in or out": formats.signed_money,
        "Fees": formats.money,
    }
    return colored(styled(frame, texts), ["P&L"], palette)


def preview(answer: Preview, ticket: Ticket, currency: str, tick_size: Decimal) -> pd.DataFrame:
    """What the order would do, line by line."""
    if ticket.order_type == "market":
        value = f"about {formats.money(answer.notional)} {currency}"
    else:
        value = f"{formats.money(answer.notional)} {currency}"
    age = "" if answer.mark_age_s is None else f", {formats.age(answer.mark_age_s)} old"
    lines = {
        "Value": value,
        "Estimated fee": f"{formats.money(answer.estimated_fee)} {currency}",
        "Last price": f"{formats.price(answer.mark_price, tick_size)} {currency}{age}",
        "Position": _change(formats.quantity, answer.position_before, answer.position_after),
        "Cash": f"{_change(formats.money, answer.cash_before, answer.cash_after)} {currency}",
    }
    lines |= {_limit_name(limit): _limit(limit, currency) for limit in answer.limits}
    return pd.DataFrame({"": list(lines), "Value": list(lines.values())})


def _named(names: Names, account_id: int) -> str:
    return names.get(account_id, str(account_id))


def _side(side: str) -> str:
    return "▲ buy" if side == "buy" else "▼ sell"


def _terms(row: Order) -> str:
    return formats.terms(row, row.tick_size)


def _status(row: Order) -> str:
    return (
        f"{formats.status(row.status)}, late fill" if row.late_fill else formats.status(row.status)
    )


def _event(row: TimelineEvent) -> str:
    words = [row.kind.replace("_", " ")]
    words += [word for word in (formats.reason(row.reason), row.detail) if word]
    return ": ".join(words) if row.applied else f"{': '.join(words)} (not applied)"


def _move(row: TimelineEvent) -> str:
    after = formats.status(row.status_after) if row.status_after else ""
    if not row.status_before or row.status_before == row.status_after:
        return after
    before = formats.status(row.status_before)
    return after if before == after else f"{before} → {after}"


def _audit(row: TimelineEvent) -> str:
    return (
        "" if row.audit_seq is None else f"#{row.audit_seq} {(row.audit_hash or '')[:12]}".strip()
    )


def _limit_name(limit: LimitUse) -> str:
    return f"Limit: {limit.name.replace('_', ' ')}"


def _limit(limit: LimitUse, currency: str) -> str:
    use = formats.percent(limit.used / limit.limit) if limit.limit else formats.NONE
    if limit.name == "order_notional":
        return f"{use} of {formats.money(limit.limit)} {currency}"
    return f"{use} of {formats.quantity(limit.limit)}"


def _change(text: Format, before: Decimal, after: Decimal | None) -> str:
    return f"{text(before)} → {text(after)}"


def _return(row: Position) -> float | None:
    if row.unrealized_pnl is None or row.market_value is None:
        return None
    cost = abs(row.market_value - row.unrealized_pnl)
    return float(row.unrealized_pnl / cost) if cost else None


def pnl(value: Decimal | None) -> str:
    """Profit or loss with its way in a sign and an arrow."""
    return f"{formats.arrow(value)} {formats.signed_money(value)}".strip()


def _as_is(value: Decimal | None) -> str:
    return formats.NONE if value is None else f"{value:,f}"


def cells(values: Sequence[Decimal | None], step: Decimal = formats.CENT) -> list[Decimal | None]:
    """Exact numbers, rounded to what is shown."""
    return [None if value is None else formats.rounded(value, step) for value in values]


def _prices(
    values: Sequence[Decimal | None],
    rows: Sequence[Position] | Sequence[Order] | Sequence[Execution],
    finer: int = 0,
) -> list[Decimal | None]:
    """Prices by the tick size of their own row, `finer` decimals more for an average."""
    steps = [row.tick_size.normalize().scaleb(-finer) for row in rows]
    return [
        None if value is None else formats.rounded(value, step)
        for value, step in zip(values, steps, strict=True)
    ]


def styled(frame: pd.DataFrame, texts: Mapping[str, Callable[..., str]]) -> Styler:
    """Lay texts over the cells of some columns."""
    styler: Styler = frame.style.format(dict(texts), na_rep=formats.NONE)
    return styler


def colored(styler: Styler, columns: list[str], palette: Palette) -> Styler:
    """Color what gained and what lost; the sign says it as well."""

    def color(value: Decimal | float | None) -> str:
        if value is None or value == 0 or math.isnan(value):
            return ""
        return f"color: {palette.gain_text if value > 0 else palette.loss_text}"

    colored: Styler = styler.map(color, subset=columns)
    return colored
