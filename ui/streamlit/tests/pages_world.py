"""A desk in memory at the edge of the services, and pages opened as one of its users.

The gate is the real one: peg_login over a vault that holds the user's pass. Only the functions of
`ro_db` and `api_client` that leave the process are replaced, so that a test decides what the
database and the API say, and when they say nothing. test_pages_database.py reads a real database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from gate.identity import Identity
from gate.vault import Pass, get_vault
from pages_rows import NOW, TICK, make_account, make_clock, make_health, make_order, make_summary
from services import api_client, ro_db
from services.models import (
    Account,
    Alert,
    Capability,
    Changes,
    DailyPnl,
    EquityPoint,
    Execution,
    Exposure,
    Health,
    Instrument,
    LimitUsage,
    MarketClock,
    Order,
    OrderState,
    Position,
    Preview,
    Ticket,
    TimelineEvent,
    User,
)
from services.models_reports import Attribution, ExecutionCosts, MonthlyPnl, SpanPart
from streamlit.testing.v1 import AppTest

SCREEN = Path(__file__).resolve().parent.parent
PAGES = ("01_Dashboard", "02_Reports", "03_Trades")
USER_ID = UUID(int=7)
READERS = (
    "accounts",
    "instruments",
    "health",
    "market_clock",
    "account_summary",
    "positions",
    "orders",
    "open_orders",
    "order_by_client_id",
    "executions",
    "equity",
    "timeline",
    "daily_pnl",
    "capabilities",
    "exposure",
    "limit_usage",
    "alerts",
    "pnl_monthly",
    "attribution",
    "attribution_since",
    "execution_costs",
    "audit_extract",
)


@dataclass
class Results:
    """What the views of risk and results answer."""

    exposure: list[Exposure] = field(default_factory=list)
    limits: list[LimitUsage] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    months: list[MonthlyPnl] = field(default_factory=list)
    parts: list[SpanPart] = field(default_factory=list)
    attribution: list[Attribution] = field(default_factory=list)
    costs: list[ExecutionCosts] = field(default_factory=list)


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
    clocks: list[MarketClock] = field(default_factory=lambda: [make_clock()])
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
    results: Results = field(default_factory=Results)
    capabilities: list[Capability] = field(
        default_factory=lambda: [
            Capability(account_id, order_type, time_in_force)
            for account_id in (1, 2)
            for order_type in ("limit", "market", "stop", "stop_limit")
            for time_in_force in ("day", "gtc", "gtd")
        ]
    )
    replaced: list[tuple[int, Changes, str]] = field(default_factory=list)
    canceled_all: list[tuple[int, str]] = field(default_factory=list)
    resolved: list[tuple[int, str]] = field(default_factory=list)
    switched: list[tuple[str, int, str, bool]] = field(default_factory=list)
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
            "market_clock": lambda: self.clocks,
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
            "capabilities": lambda ids: self.capabilities,
            "exposure": lambda ids: self.results.exposure,
            "limit_usage": lambda ids: self.results.limits,
            "alerts": lambda ids: self.results.alerts,
            "pnl_monthly": lambda ids, from_day, to_day: self.results.months,
            "attribution_since": lambda ids, since: self.results.parts,
            "attribution": lambda ids: self.results.attribution,
            "execution_costs": lambda ids, since, until: self.results.costs,
            "audit_extract": lambda ids, since, until, after: [],
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
            stop_price=ticket.stop_price,
            time_in_force=ticket.time_in_force,
            expires_at=ticket.expires_at,
            side=ticket.side,
        )
        self.orders.insert(0, order)

    def cancel(self, user: User, order_id: int) -> OrderState:
        """Take a cancel."""
        self._fail()
        self.canceled.append(order_id)
        order = next(row for row in self.orders if row.order_id == order_id)
        return _state(replace(order, status="pending_cancel"), replayed=False)

    def replace_order(self, user: User, order_id: int, changes: Changes, key: str) -> OrderState:
        """Take a replace, once a key."""
        self.replaced.append((order_id, changes, key))
        self._fail()
        order = next(row for row in self.orders if row.order_id == order_id)
        return _state(replace(order, status="pending_replace"), replayed=False)

    def cancel_all(self, user: User, account_id: int, key: str) -> int:
        """Take a cancel of everything."""
        self.canceled_all.append((account_id, key))
        self._fail()
        return len([row for row in self.orders if row.open and row.account_id == account_id])

    def switch(
        self, user: User, action: str, scope_id: int, reason: str, *, cancel_open: bool
    ) -> str:
        """Take a switch."""
        self._fail()
        self.switched.append((action, scope_id, reason, cancel_open))
        return {"halt": "halted", "reduce": "reducing", "resume": "active"}[action]

    def resolve_break(self, user: User, break_id: int, reason: str) -> None:
        """Take a finding; the break is then over."""
        self._fail()
        self.resolved.append((break_id, reason))
        self.results.alerts = [row for row in self.results.alerts if row.break_id != break_id]

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
    monkeypatch.setattr(api_client, "replace", desk.replace_order)
    monkeypatch.setattr(api_client, "cancel_all", desk.cancel_all)
    monkeypatch.setattr(api_client, "switch", desk.switch)
    monkeypatch.setattr(api_client, "resolve_break", desk.resolve_break)
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
