"""Every question of the screen, as services/ro_db.py asks it, with the accounts that are chosen."""

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from types import ModuleType
from typing import Any
from unittest.mock import patch

from native.installation import ROOT

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Asked:
    """What the questions are about."""

    account_ids: tuple[int, ...]
    order_id: int
    client_order_id: str
    symbol: str
    # When the desk was filled: its last orders, bars and samples are of that moment.
    filled_at: datetime
    now: datetime

    def last(self, days: int) -> tuple[datetime, datetime]:
        """A span that ends when the desk was filled."""
        return self.filled_at - timedelta(days=days), self.filled_at


@dataclass(frozen=True)
class Case:
    """A reader of ro_db with arguments as the pages give them."""

    reader: str
    arguments: Callable[[Asked], tuple[Any, ...]]


# By the name of the row that measures it.
CASES = {
    "accounts": Case("accounts", lambda asked: ()),
    "instruments": Case("instruments", lambda asked: ()),
    "health": Case("health", lambda asked: (asked.account_ids,)),
    "market_clock": Case("market_clock", lambda asked: ()),
    "account_summary": Case("account_summary", lambda asked: (asked.account_ids,)),
    "positions": Case("positions", lambda asked: (asked.account_ids,)),
    "open_orders": Case("open_orders", lambda asked: (asked.account_ids,)),
    "orders": Case("orders", lambda asked: (asked.account_ids,)),
    "orders_refused": Case("orders", lambda asked: (asked.account_ids, "refused", 1000)),
    "order_by_client_id": Case(
        "order_by_client_id", lambda asked: (asked.account_ids, asked.client_order_id)
    ),
    "timeline": Case("timeline", lambda asked: (asked.order_id,)),
    "executions": Case("executions", lambda asked: (asked.account_ids,)),
    "executions_30_days": Case(
        "executions", lambda asked: (asked.account_ids, 1000, *asked.last(30))
    ),
    "equity_30_days": Case("equity", lambda asked: (asked.account_ids, *asked.last(30))),
    "equity_year": Case("equity", lambda asked: (asked.account_ids, *asked.last(365))),
    "daily_pnl_90_days": Case(
        "daily_pnl",
        lambda asked: (asked.account_ids, *(moment.date() for moment in asked.last(90))),
    ),
    "capabilities": Case("capabilities", lambda asked: (asked.account_ids,)),
    "exposure": Case("exposure", lambda asked: (asked.account_ids,)),
    "limit_usage": Case("limit_usage", lambda asked: (asked.account_ids,)),
    "alerts": Case("alerts", lambda asked: (asked.account_ids, 24 * 365)),
    "pnl_monthly_90_days": Case(
        "pnl_monthly",
        lambda asked: (asked.account_ids, *(moment.date() for moment in asked.last(90))),
    ),
    "attribution": Case("attribution", lambda asked: (asked.account_ids,)),
    "attribution_30_days": Case(
        "attribution_since", lambda asked: (asked.account_ids, asked.last(30)[0])
    ),
    "execution_costs_30_days": Case(
        "execution_costs", lambda asked: (asked.account_ids, *asked.last(30))
    ),
    "audit_extract_30_days": Case(
        "audit_extract", lambda asked: (asked.account_ids, *asked.last(30), (0, 0))
    ),
    "bars_day": Case("bars", lambda asked: (asked.symbol, asked.now - DAY, asked.now)),
    "bars_30_days": Case("bars", lambda asked: (asked.symbol, *asked.last(30))),
    "bars_year": Case("bars", lambda asked: (asked.symbol, *asked.last(365))),
}


@dataclass(frozen=True)
class Statement:
    """What a reader sends, with psycopg's placeholders."""

    query: str
    arguments: Sequence[Any]


def readers() -> set[str]:
    """Return the names of all readers of ro_db: public functions that read for a user."""
    ro_db = screen("services.ro_db")
    return {
        name
        for name, function in inspect.getmembers(ro_db, inspect.isfunction)
        if function.__module__ == ro_db.__name__
        and not name.startswith("_")
        and "user" in inspect.signature(function).parameters
    }


def statement(case: Case, asked: Asked) -> Statement:
    """Let a reader ask somebody who only listens; return what he asked."""
    ro_db = screen("services.ro_db")
    user = screen("services.models").User("bench", "trader", "bench")
    heard: list[Statement] = []

    def listen(_user: Any, _kind: Any, query: str, arguments: Sequence[Any]) -> list[Any]:
        heard.append(Statement(query, arguments))
        return []

    with (
        patch.object(ro_db.database, "rows", listen),
        patch.object(ro_db.db_tokens, "require_session"),
        suppress(ro_db.DatabaseDown),
    ):
        ro_db._cache.clear()
        getattr(ro_db, case.reader)(user, *case.arguments(asked))
    (only,) = heard
    return only


@cache
def screen(name: str) -> ModuleType:
    """Import a module of the screen, behind all others: `app` is the backend's name too."""
    folder = str(ROOT / "ui/streamlit")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
