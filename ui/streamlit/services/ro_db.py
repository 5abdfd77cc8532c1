"""What the pages read: one function a question, over the reporting views, as the user himself.

The rows are the dataclasses of models.py; every view names its columns like their fields. Answers
are kept for a moment per user, role and accounts. Every function may raise `DatabaseDown`.
"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Any, TypeVar

from services import database, db_tokens
from services.database import DatabaseDown, NotSignedIn
from services.models import (
    Account,
    AccountSummary,
    Alert,
    Bar,
    Capability,
    DailyPnl,
    EquityPoint,
    Execution,
    Exposure,
    Health,
    Instrument,
    LimitUsage,
    MarketClock,
    Order,
    Position,
    TimelineEvent,
    User,
)
from services.models_reports import Attribution, AuditLink, ExecutionCosts, MonthlyPnl, SpanPart
from services.ttl_cache import TtlCache

__all__ = ["DatabaseDown", "NotSignedIn"]

Row = TypeVar("Row")
AccountIds = tuple[int, ...]

OPEN_ORDERS_MAX = 200
ALERTS_MAX = 50
AUDIT_PAGE = 5000
ROWS_MAX = 1000
POINTS_MAX = 1500
LIVE_S = 1.0
FEW_ACCOUNTS = 20
MANY_ACCOUNTS = 200
# Views and what is the newest of each.
ORDERS = ("reporting.orders", "order_id DESC")
EXECUTIONS = ("reporting.executions", "executed_at DESC, execution_id DESC")
STATUSES = {
    "filled": ["filled"],
    "canceled": ["canceled"],
    "refused": ["denied", "rejected", "expired", "lost"],
}

_cache: TtlCache[tuple[Any, ...]] = TtlCache()


def accounts(user: User) -> list[Account]:
    """Return the accounts the user may read, by name."""
    return _kept(5, user, Account, "FROM reporting.accounts ORDER BY name, account_id")


def instruments(user: User) -> list[Instrument]:
    """Return what can be traded, by symbol."""
    return _kept(2, user, Instrument, "FROM reporting.instruments ORDER BY symbol")


def capabilities(user: User, account_ids: AccountIds) -> list[Capability]:
    """Return what may be ordered in each account."""
    query = "FROM reporting.route_capabilities WHERE account_id = ANY (%s)"
    return _kept(60, user, Capability, query, list(account_ids))


def health(user: User, account_ids: AccountIds) -> Health:
    """Return how fresh everything is, by the clock of the database."""
    query = "FROM reporting.health(%s::bigint[])"
    found = _kept(LIVE_S, user, Health, query, list(account_ids))
    if not found:
        raise DatabaseDown("The database says nothing of its health.")
    return found[0]


def market_clock(user: User) -> list[MarketClock]:
    """Return whether each exchange is open, by the clock of the database."""
    return _kept(5, user, MarketClock, "FROM reporting.market_clock() ORDER BY exchange")


def account_summary(user: User, account_ids: AccountIds) -> list[AccountSummary]:
    """Return what each account is worth."""
    query = "FROM reporting.account_summary WHERE account_id = ANY (%s) ORDER BY account_id"
    return _kept(LIVE_S, user, AccountSummary, query, list(account_ids))


def exposure(user: User, account_ids: AccountIds) -> list[Exposure]:
    """Return what the accounts hold by symbol and by strategy, the largest first."""
    query = (
        "FROM reporting.exposure WHERE account_id = ANY (%s)"
        " ORDER BY dimension DESC, gross DESC, name, account_id"
    )
    return _kept(5, user, Exposure, query, list(account_ids))


def limit_usage(user: User, account_ids: AccountIds) -> list[LimitUsage]:
    """Return how much of each limit is used, the closest to its end first."""
    query = (
        "FROM reporting.limit_usage WHERE account_id = ANY (%s)"
        " ORDER BY use DESC NULLS LAST, name, account_id"
    )
    return _kept(2, user, LimitUsage, query, list(account_ids))


def alerts(user: User, account_ids: AccountIds, hours: int = 24) -> list[Alert]:
    """Return what needs a look of the last hours, newest first; figures that are wrong always."""
    query = (
        "FROM reporting.alerts WHERE account_id = ANY (%s)"
        " AND (alert_at >= now() - %s * interval '1 hour'"
        " OR kind IN ('integrity_break', 'recon_break'))"
        " ORDER BY alert_at DESC, order_id, kind LIMIT %s"
    )
    return _kept(2, user, Alert, query, list(account_ids), hours, ALERTS_MAX)


def positions(user: User, account_ids: AccountIds) -> list[Position]:
    """Return what the accounts hold, flat positions too, by account and symbol."""
    query = "FROM reporting.positions WHERE account_id = ANY (%s) ORDER BY account_id, symbol"
    return _kept(LIVE_S, user, Position, query, list(account_ids))


def open_orders(user: User, account_ids: AccountIds) -> list[Order]:
    """Return the orders that still work, newest first."""
    return orders(user, account_ids, "open", OPEN_ORDERS_MAX)


def orders(
    user: User, account_ids: AccountIds, status_filter: str = "all", limit: int = 200
) -> list[Order]:
    """Return orders, newest first; status_filter is all, open, filled, canceled or refused."""
    statuses = STATUSES.get(status_filter)
    if len(account_ids) > MANY_ACCOUNTS and status_filter != "open":
        # The function says the order.
        query = "FROM reporting.newest_orders(%s::bigint[], %s::text[], %s)"
        rows = _bounded(limit, ROWS_MAX)
        return _kept(LIVE_S, user, Order, query, list(account_ids), statuses, rows)
    condition = {"all": "TRUE", "open": "open"}.get(status_filter, "status = ANY (%s)")
    query, arguments = _newest(
        ORDERS, account_ids, condition, [statuses] if statuses else [], limit
    )
    return _kept(LIVE_S, user, Order, query, *arguments)


def order_by_client_id(user: User, account_ids: AccountIds, client_order_id: str) -> Order | None:
    """Return an order as it is this very moment; it settles what an answer left open."""
    query = "FROM reporting.orders WHERE account_id = ANY (%s) AND client_order_id = %s"
    found = _read(user, Order, query, list(account_ids), client_order_id)
    return found[0] if found else None


def executions(
    user: User,
    account_ids: AccountIds,
    limit: int = 200,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
) -> list[Execution]:
    """Return fills, newest first, of a span that may be open at both ends."""
    # coalesce() is no index condition below a policy: the planner takes it for one that may leak.
    ends = {"executed_at >= %s": from_at, "executed_at < %s": to_at}
    given = {text: end for text, end in ends.items() if end is not None}
    condition = " AND ".join(given) or "TRUE"
    query, arguments = _newest(EXECUTIONS, account_ids, condition, list(given.values()), limit)
    return _kept(LIVE_S, user, Execution, query, *arguments)


def equity(
    user: User,
    account_ids: AccountIds,
    from_at: datetime,
    to_at: datetime,
    max_points: int = POINTS_MAX,
) -> list[EquityPoint]:
    """Return what the accounts together were worth, oldest first."""
    query = "FROM reporting.equity_curve(%s::bigint[], %s, %s, %s) ORDER BY equity_at, currency"
    arguments = (list(account_ids), from_at, to_at, _bounded(max_points, POINTS_MAX))
    return _kept(10, user, EquityPoint, query, *arguments)


def timeline(user: User, order_id: int) -> list[TimelineEvent]:
    """Return what happened to an order, oldest first."""
    # The function says the order: many steps share one moment.
    return _kept(LIVE_S, user, TimelineEvent, "FROM reporting.order_timeline(%s)", order_id)


def daily_pnl(user: User, account_ids: AccountIds, from_day: date, to_day: date) -> list[DailyPnl]:
    """Return the days of the accounts together, oldest first."""
    query = "FROM reporting.daily_pnl(%s::bigint[], %s, %s) ORDER BY day, currency"
    return _kept(10, user, DailyPnl, query, list(account_ids), from_day, to_day)


def pnl_monthly(
    user: User, account_ids: AccountIds, from_day: date, to_day: date
) -> list[MonthlyPnl]:
    """Return the months of the accounts together, oldest first."""
    query = "FROM reporting.pnl_monthly(%s::bigint[], %s, %s) ORDER BY month, currency"
    return _kept(10, user, MonthlyPnl, query, list(account_ids), from_day, to_day)


def attribution(user: User, account_ids: AccountIds) -> list[Attribution]:
    """Return what each symbol and strategy made since the accounts were opened."""
    query = (
        "FROM reporting.pnl_attribution WHERE account_id = ANY (%s)"
        " ORDER BY currency, pnl DESC NULLS LAST, symbol, strategy, account_id"
    )
    return _kept(10, user, Attribution, query, list(account_ids))


def attribution_since(user: User, account_ids: AccountIds, from_at: datetime) -> list[SpanPart]:
    """Return what each symbol and strategy made since a moment, the best first."""
    query = (
        "FROM reporting.attribution_since(%s::bigint[], %s)"
        " ORDER BY currency, pnl DESC NULLS LAST, symbol, strategy, account_id"
    )
    return _kept(10, user, SpanPart, query, list(account_ids), from_at)


def execution_costs(
    user: User, account_ids: AccountIds, from_at: datetime, to_at: datetime
) -> list[ExecutionCosts]:
    """Return what trading cost by symbol, of the orders placed in a span."""
    query = "FROM reporting.execution_costs(%s::bigint[], %s, %s) ORDER BY currency, symbol"
    return _kept(10, user, ExecutionCosts, query, list(account_ids), from_at, to_at)


def audit_extract(
    user: User, stream_ids: AccountIds, from_at: datetime, to_at: datetime, after: tuple[int, int]
) -> list[AuditLink]:
    """Return the next links of the audit chain after a stream and sequence; an admin's alone."""
    query = "FROM reporting.audit_extract(%s::bigint[], %s, %s, %s, %s, %s) ORDER BY stream_id, seq"
    arguments = (list(stream_ids), from_at, to_at, *after, AUDIT_PAGE)
    return _read(user, AuditLink, query, *arguments)


def bars(
    user: User, symbol: str, from_at: datetime, to_at: datetime, max_points: int = POINTS_MAX
) -> list[Bar]:
    """Return the prices of an instrument, oldest first."""
    query = "FROM reporting.bars_between(%s, %s, %s, %s) ORDER BY bar_at"
    arguments = (symbol, from_at, to_at, _bounded(max_points, POINTS_MAX))
    return _kept(60, user, Bar, query, *arguments)


def _newest(
    ordered_view: tuple[str, str],
    account_ids: AccountIds,
    condition: str,
    values: list[Any],
    limit: int,
) -> tuple[str, list[Any]]:
    """Return the question for the newest rows of all the accounts, and its arguments.

    Of few accounts each is read from the end of its own index, however long its past is and however
    long ago its last row was. Of many, most rows of the table qualify, so it is read from its end.
    """
    view, order = ordered_view
    rows = _bounded(limit, ROWS_MAX)
    if len(account_ids) > FEW_ACCOUNTS:
        query = f"FROM {view} WHERE account_id = ANY (%s) AND {condition} ORDER BY {order} LIMIT %s"
        return query, [list(account_ids), *values, rows]
    each = f"FROM {view} WHERE account_id = chosen AND {condition} ORDER BY {order} LIMIT %s"
    query = (
        f"FROM unnest(%s::bigint[]) AS chosen CROSS JOIN LATERAL (SELECT * {each}) AS newest"
        f" ORDER BY {order} LIMIT %s"
    )
    # Each once, whatever was asked.
    return query, [sorted(set(account_ids)), *values, rows, rows]


def _kept(ttl_s: float, user: User, kind: type[Row], query: str, *arguments: Any) -> list[Row]:
    """Read, or return what the same user asked a moment ago; only for a session that is alive."""
    try:
        db_tokens.require_session(user)
    except db_tokens.SessionOver as error:
        raise NotSignedIn("The session is over.") from error
    key = (user.user_id, user.role, query, _frozen(arguments))
    return list(_cache.get(key, ttl_s, lambda: tuple(_read(user, kind, query, *arguments))))


def _read(user: User, kind: type[Row], query: str, *arguments: Any) -> list[Row]:
    columns = ", ".join(field.name for field in fields(kind))  # type: ignore[arg-type]
    return database.rows(user, kind, f"SELECT {columns} {query}", arguments)


def _frozen(arguments: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(tuple(item) if isinstance(item, list) else item for item in arguments)


def _bounded(wanted: int, most: int) -> int:
    return max(1, min(wanted, most))
