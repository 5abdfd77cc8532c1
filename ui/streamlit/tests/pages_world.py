"""A desk in memory at the edge of the services, and pages opened as one of its users.

The gate is the real one: peg_login over a vault that holds the user's pass. Only the functions of
`ro_db` and `api_client` that leave the process are replaced, so that a test decides what the
database and the API say, and when they say nothing. test_pages_database.py reads a real database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from gate.identity import Identity
from gate.vault import Pass, get_vault
from services import api_client, ro_db
from services.models import (
    Account,
    AccountSummary,
    DailyPnl,
    EquityPoint,
    Execution,
    Health,
    Instrument,
    Order,
    OrderState,
    Position,
    Preview,
    Ticket,
    TimelineEvent,
    User,
)
from streamlit.testing.v1 import AppTest

SCREEN = Path(__file__).resolve().parent.parent
PAGES = ("01_Dashboard", "02_Reports", "03_Trades")
NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
TICK = Decimal("0.01")
USER_ID = UUID(int=7)
READERS = (
    "accounts",
    "instruments",
    "health",
    "account_summary",
    "positions",
    "orders",
    "open_orders",
    "order_by_client_id",
    "executions",
    "equity",
    "timeline",
    "daily_pnl",
)


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
        day, "USD", start, start + Decimal(pnl), Decimal(0), Decimal(pnl), Decimal(2), 3
    )
    return replace(made, **changes)


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
        price_received_at=NOW,
    )
    return replace(summary, **changes)


@dataclass
class Desk:
    """What the database and the API of a test know."""

    accounts: list[Account] = field(default_factory=lambda: [make_account(1), make_account(2)])
    orders: list[Order] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    days: list[DailyPnl] = field(default_factory=list)
    points: list[EquityPoint] = field(default_factory=list)
    health: Health = field(default_factory=make_health)
    preview: Preview = field(
        default_factory=lambda: Preview(
            "accept",
            None,
            None,
            Decimal(1901),
            Decimal(1),
            Decimal("190.12"),
            1.2,
            Decimal(0),
            Decimal(10),
            Decimal(60_000),
            Decimal(58_098),
        )
    )
    database_down: bool = False
    session_over: bool = False
    # What the API does with the next calls: answer, or take the call and never answer.
    api_down: bool = False
    problem: api_client.ApiProblem | None = None
    reads: list[tuple[str, User]] = field(default_factory=list)
    asked: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    placed: list[tuple[Ticket, str]] = field(default_factory=list)
    canceled: list[int] = field(default_factory=list)

    def answer(self, name: str, user: User, *arguments: Any, **options: Any) -> Any:
        """Answer a reader's question."""
        self.reads.append((name, user))
        if self.session_over:
            raise ro_db.NotSignedIn("over")
        if self.database_down:
            raise ro_db.DatabaseDown("away")
        if arguments and isinstance(arguments[0], tuple):
            self.asked.append((name, arguments[0]))
        return self._answers()[name](*arguments, **options)

    def _answers(self) -> dict[str, Callable[..., Any]]:
        return {
            "accounts": lambda: self.accounts,
            "instruments": lambda: [
                Instrument(
                    "AAPL",
                    "Apple Inc.",
                    "USD",
                    TICK,
                    Decimal(1),
                    True,
                    Decimal("190.12"),
                    "replay",
                    NOW,
                )
            ],
            "health": lambda ids: self.health,
            "account_summary": lambda ids: [make_summary(account_id) for account_id in ids],
            "positions": lambda ids: self.positions,
            "orders": self._orders,
            "open_orders": lambda ids: self._orders(ids, "open"),
            "order_by_client_id": lambda ids, key: next(
                (row for row in self.orders if row.client_order_id == key), None
            ),
            "executions": lambda ids, limit=200, since=None, until=None: self.executions,
            "equity": lambda ids, since, until, points=1500: self.points,
            "timeline": self._timeline,
            "daily_pnl": lambda ids, from_day, to_day: self.days,
        }

    def _orders(
        self, ids: tuple[int, ...], status_filter: str = "all", limit: int = 200
    ) -> list[Order]:
        rows = [row for row in self.orders if row.account_id in ids]
        return [row for row in rows if row.open] if status_filter == "open" else rows

    def _timeline(self, order_id: int) -> list[TimelineEvent]:
        step = TimelineEvent(NOW, NOW, "order", "place", "user:7", None, "new", True, None)
        later = NOW + timedelta(milliseconds=42)
        sent = replace(
            step,
            recorded_at=later,
            kind="begin_send",
            status_before="new",
            status_after="submitting",
            audit_seq=4,
            audit_hash="9f3a77c01b2d44e0",
        )
        return [step, sent]

    def place(self, user: User, ticket: Ticket, client_order_id: str) -> OrderState:
        """Place once, however often it is called."""
        self.placed.append((ticket, client_order_id))
        self._fail()
        known = [row for row in self.orders if row.client_order_id == client_order_id]
        if not known:
            self.record(ticket, client_order_id)
        return _state(self._answers()["order_by_client_id"]((), client_order_id), bool(known))

    def record(self, ticket: Ticket, client_order_id: str) -> None:
        """Write an order as the API does."""
        order = make_order(
            2000 + len(self.orders),
            client_order_id=client_order_id,
            status="new",
            account_id=ticket.account_id,
            quantity=ticket.quantity,
            order_type=ticket.order_type,
            limit_price=ticket.limit_price,
            side=ticket.side,
        )
        self.orders.insert(0, order)

    def cancel(self, user: User, order_id: int) -> OrderState:
        """Take a cancel."""
        self._fail()
        self.canceled.append(order_id)
        order = next(row for row in self.orders if row.order_id == order_id)
        return _state(replace(order, status="pending_cancel"), replayed=False)

    def previewed(self, user: User, ticket: Ticket) -> Preview:
        """Say what the rules say."""
        self._fail()
        return self.preview

    def _fail(self) -> None:
        if self.api_down:
            raise api_client.ApiDown("no answer")
        if self.problem:
            raise self.problem


def _state(order: Order, replayed: bool) -> OrderState:
    return OrderState(
        order.order_id,
        order.client_order_id,
        order.account_id,
        order.status,
        order.reason_code,
        order.cum_quantity,
        order.average_price,
        replayed,
        order.created_at,
        order.updated_at,
    )


def seat(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> Desk:
    """Put the desk where the services would leave the process."""
    monkeypatch.setenv("APP_ENV", "test")
    for name in READERS:

        def reader(user: User, *arguments: Any, _name: str = name, **options: Any) -> Any:
            return desk.answer(_name, user, *arguments, **options)

        monkeypatch.setattr(ro_db, name, reader)
    monkeypatch.setattr(api_client, "preview", desk.previewed)
    monkeypatch.setattr(api_client, "place", desk.place)
    monkeypatch.setattr(api_client, "cancel", desk.cancel)
    return desk


def open_page(page: str, role: str | None, **parameters: str) -> AppTest:
    """Open a page as a user of that role; None is somebody who is not signed in."""
    app = AppTest.from_file(str(SCREEN / "pages" / f"{page}.py"), default_timeout=30)
    if role:
        sign_in(app, role)
    for name, value in parameters.items():
        app.query_params[name] = value
    return app.run()


def sign_in(app: AppTest, role: str, user_id: UUID = USER_ID) -> None:
    """Give a browser the identity that the gates vouch for."""
    identity = Identity(str(user_id), role, f"handle-{role}-{user_id.hex}")
    valid = datetime.now(UTC) + timedelta(hours=1)
    get_vault().put(Pass(identity, f"{role}@test.informania.dev", valid, token="token"))
    app.user = {
        "user_id": identity.user_id,
        "role": identity.role,
        "session_handle": identity.session_handle,
    }


def texts(app: AppTest) -> str:
    """Everything a page says in words."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.warning)
    said = [*kinds, app.error, app.success, app.text, app.metric]
    return "\n".join(str(item.value) for kind in said for item in kind)
