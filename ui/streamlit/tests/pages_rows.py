"""Rows of the reporting views, one good one of each kind, for tests to change."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.models import (
    Account,
    AccountSummary,
    Alert,
    DailyPnl,
    Execution,
    Health,
    MarketClock,
    Order,
    Position,
)
from services.models_reports import Attribution, AuditLink, ExecutionCosts, SpanPart

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
TICK = Decimal("0.01")


def make_account(account_id: int = 1, **changes: Any) -> Account:
    """An account in which one may trade."""
    account = Account(
        account_id=account_id,
        name={1: "Growth", 2: "Income"}.get(account_id, "Other"),
        currency="USD",
        route="quantconnect",
        paper=True,
        can_trade=True,
        trading_state="active",
        trading_state_reason=None,
        order_quantity_max=Decimal(10_000),
        order_notional_max=Decimal(50_000),
        price_collar=Decimal("0.10"),
    )
    return replace(account, **changes)


def make_order(order_id: int = 1001, **changes: Any) -> Order:
    """A limit order that works at the venue."""
    order = Order(
        order_id=order_id,
        client_order_id=f"ui-{order_id:032x}",
        account_id=1,
        symbol="AAPL",
        currency="USD",
        tick_size=TICK,
        side="buy",
        order_type="limit",
        time_in_force="day",
        quantity=Decimal(100),
        limit_price=Decimal("190.10"),
        stop_price=None,
        status="accepted",
        open=True,
        reason_code=None,
        quantity_max=None,
        cum_quantity=Decimal(0),
        leaves_quantity=Decimal(100),
        average_price=None,
        late_fill=False,
        expires_at=None,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(order, **changes)


def make_position(**changes: Any) -> Position:
    """A long position that gained."""
    position = Position(
        account_id=1,
        symbol="AAPL",
        name="Apple Inc.",
        currency="USD",
        tick_size=TICK,
        quantity=Decimal(200),
        average_cost=Decimal("188.123456789"),
        last_price=Decimal("190.12"),
        price_received_at=NOW,
        market_value=Decimal(38_024),
        unrealized_pnl=Decimal("399.3086422"),
        realized_pnl=Decimal(0),
        fees=Decimal(2),
        recent_prices=(Decimal("189.9"), Decimal("190.12")),
    )
    return replace(position, **changes)


def make_execution(execution_id: int = 1, **changes: Any) -> Execution:
    """A fill of the order 1001."""
    execution = Execution(
        execution_id=execution_id,
        order_id=1001,
        account_id=1,
        symbol="AAPL",
        tick_size=TICK,
        side="buy",
        quantity=Decimal(100),
        price=Decimal("190.05"),
        notional=Decimal(19_005),
        currency="USD",
        fee=Decimal(1),
        fee_currency="USD",
        executed_at=NOW,
    )
    return replace(execution, **changes)


def make_day(day: date, pnl: str, **changes: Any) -> DailyPnl:
    """A day that began with 100,000."""
    start = Decimal(100_000)
    made = DailyPnl(
        day,
        "USD",
        start,
        start + Decimal(pnl),
        Decimal(0),
        Decimal(pnl),
        Decimal(2),
        3,
        Decimal(5_000),
    )
    return replace(made, **changes)


def make_clock(**changes: Any) -> MarketClock:
    """A session that runs: an ordinary Friday in New York."""
    opens_at, closes_at = NOW - timedelta(hours=1), NOW + timedelta(hours=5, minutes=30)
    return replace(MarketClock("XNYS", True, opens_at, closes_at, False, closes_at), **changes)


def make_health(**changes: Any) -> Health:
    """Everything is fresh."""
    second = timedelta(seconds=1)
    health = Health(NOW, NOW - second, "replay", NOW - 2 * second, 0, None)
    return replace(health, **changes)


def make_summary(account_id: int = 1, **changes: Any) -> AccountSummary:
    """An account that gained today."""
    summary = AccountSummary(
        account_id=account_id,
        currency="USD",
        cash=Decimal(60_000),
        market_value=Decimal(40_000),
        equity=Decimal(100_000),
        unrealized_pnl=Decimal("-250.5"),
        realized_pnl=Decimal(12),
        fees=Decimal(2),
        gross_exposure=Decimal(40_000),
        day_pnl=Decimal("120.25"),
        open_orders=1,
        unpriced=0,
        unconverted=0,
        fx_date=None,
        price_received_at=NOW,
    )
    return replace(summary, **changes)


def make_cost(**changes: Any) -> ExecutionCosts:
    """Three orders of which two were filled, a little above the price at placing."""
    cost = ExecutionCosts(
        symbol="AAPL",
        currency="USD",
        orders=3,
        filled=2,
        fill_rate=Decimal("0.75"),
        notional=Decimal(19_005),
        slippage=Decimal("12.5"),
        slippage_bps=Decimal("6.58"),
        fees=Decimal(2),
        fees_bps=Decimal("1.05"),
        time_to_fill_s=0.42,
    )
    return replace(cost, **changes)


def make_part(**changes: Any) -> Attribution:
    """What a strategy made in a symbol."""
    part = Attribution(
        account_id=1,
        symbol="AAPL",
        strategy="alpha",
        currency="USD",
        quantity=Decimal(200),
        realized_pnl=Decimal(100),
        unrealized_pnl=Decimal("-25.5"),
        fees=Decimal(2),
        pnl=Decimal("72.5"),
    )
    return replace(part, **changes)


def make_span_part(**changes: Any) -> SpanPart:
    """What the same made within a span."""
    part = SpanPart(
        account_id=1,
        symbol="AAPL",
        strategy="alpha",
        currency="USD",
        quantity_start=Decimal(-50),
        quantity=Decimal(200),
        traded=Decimal(25_000),
        fees=Decimal(1),
        pnl=Decimal("-12.5"),
    )
    return replace(part, **changes)


def make_alert(**changes: Any) -> Alert:
    """An order that a rule denied."""
    alert = Alert(
        alert_at=NOW,
        account_id=1,
        kind="denied",
        severity="warning",
        order_id=1003,
        symbol="IBM",
        side="buy",
        quantity=Decimal(12_000),
        reason_code="ORDER_QUANTITY_EXCEEDS_MAX",
        detail=None,
    )
    return replace(alert, **changes)


def make_link(seq: int = 1, **changes: Any) -> AuditLink:
    """A link of an account's chain."""
    link = AuditLink(
        1, seq, NOW, "trader@desk.test", "order.place", '{"order_id": 1}', "app_write", "aa", "bb"
    )
    return replace(link, **changes)
