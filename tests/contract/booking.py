"""Books histories in a real Postgres as API and worker do, and reads them as the screen does."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import psycopg
from contract.histories import CURRENCY, MULTIPLIERS, History
from fixtures_postgres import Cluster
from psycopg.rows import dict_row
from read_tokens import sign

from app.services.database_setup import REPOSITORY_DIR

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
REFUSED = {"invalid", "illegal", "unmatched"}
ACCOUNTS = """
    SELECT app.sp_account_upsert(
        'system:contract', 'Contract ' || n, %s, 'quantconnect', 'C' || n, TRUE
    ) AS account_id, 'qc:C' || n AS source
    FROM generate_series(%s::int, %s::int) AS n
"""
# As superuser: ids that no reader sees.
PENDING = "SELECT array_agg(inbox_id ORDER BY inbox_id) FROM app.inbox WHERE applied_at IS NULL"
EXEC_IDS = "SELECT execution_id, exec_base FROM app.executions WHERE account_id = ANY(%s)"
POSITIONS = """
    SELECT p.account_id, p.symbol, p.quantity, p.cost, p.realized_pnl, p.fees,
        f.quantity AS fifo_quantity, f.cost AS fifo_cost, f.realized_pnl AS fifo_realized_pnl
    FROM reporting.positions AS p
    LEFT JOIN reporting.fifo_realized(%(accounts)s) AS f USING (account_id, symbol)
    WHERE p.account_id = ANY(%(accounts)s)
"""
LOTS = "SELECT * FROM reporting.fifo_lots(%(accounts)s)"
CASH = "SELECT * FROM reporting.cash WHERE account_id = ANY(%(accounts)s)"


@dataclass
class Held:
    """What our books say of one instrument of one history."""

    quantity: Decimal
    cost: Decimal
    realized_pnl: Decimal
    # In the instrument's currency.
    fees: Decimal
    # First in, first out; the figures of the summary, then its parts.
    fifo: tuple[Decimal, Decimal, Decimal] | None
    # Open lots: exec_id, signed quantity, price.
    lots: list[tuple[int, Decimal, Decimal]] = field(default_factory=list)
    # What each closing exec_id realized.
    closes: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def nothing() -> Held:
    """What is held where nothing was booked."""
    return Held(Decimal(0), Decimal(0), Decimal(0), Decimal(0), None)


@dataclass
class Booked:
    """What our books say of one history."""

    outcomes: Counter[str]
    symbols: dict[str, Held] = field(default_factory=dict)
    cash: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True)
class Books:
    """A database with its roles."""

    root: psycopg.Connection[Any]
    api: psycopg.Connection[Any]
    worker: psycopg.Connection[Any]
    reader: psycopg.Connection[Any]
    key: str
    admin: UUID
    spans_s: Iterator[int] = field(default_factory=lambda: count(300))

    @property
    def token(self) -> str:
        """A token of someone who sees every account; no two are alike.

        One that was shown within the last second shows no account that was opened since.
        """
        return sign(self.key, self.admin, valid_s=next(self.spans_s))

    def book(self, histories: Sequence[History]) -> list[Booked]:
        """Book each history in an account of its own; return what the books say then."""
        accounts = self._accounts(len(histories))
        booked = {}
        for history, (account, source) in zip(histories, accounts.items(), strict=True):
            put = "SELECT app.sp_inbox_put(%s, 'L', 1, %s::jsonb, NULL)"
            self.api.execute(put, (source, json.dumps(wire(history))))
            booked[account] = Booked(Counter(self._apply()))
        self._read(booked)
        return list(booked.values())

    def _accounts(self, count: int) -> dict[int, str]:
        first = _one(self.root, "SELECT count(*) + 1 FROM app.accounts")
        rows = self.root.execute(ACCOUNTS, (CURRENCY, first, first + count - 1)).fetchall()
        return dict(rows)

    def _apply(self) -> list[str]:
        ids = _one(self.root, PENDING) or []
        with self.worker.transaction():
            applied = self.worker.execute(
                "SELECT outcome FROM app.sp_apply_broker_events(%s)", (ids,)
            ).fetchall()
        return [row[0] for row in applied]

    def _read(self, booked: Mapping[int, Booked]) -> None:
        named = {"accounts": list(booked)}
        exec_ids = {
            execution_id: int(exec_base)
            for execution_id, exec_base in self.root.execute(EXEC_IDS, (list(booked),))
        }
        with self.reader.transaction(), self.reader.cursor(row_factory=dict_row) as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute("SELECT set_config('app.user_token', %s, TRUE)", (self.token,))
            for row in cursor.execute(POSITIONS, named).fetchall():
                fifo = (row["fifo_quantity"], row["fifo_cost"], row["fifo_realized_pnl"])
                booked[row["account_id"]].symbols[row["symbol"]] = Held(
                    row["quantity"], row["cost"], row["realized_pnl"], row["fees"],
                    None if row["fifo_quantity"] is None else fifo,
                )  # fmt: skip
            for row in cursor.execute(LOTS, named).fetchall():
                # Books that are wrong may have lots without a position.
                held = booked[row["account_id"]].symbols.setdefault(row["symbol"], nothing())
                opened, closed = (exec_ids.get(row[n]) for n in ("opened_by", "closed_by"))
                if closed is None:
                    held.lots.append((opened or 0, row["quantity"], row["open_price"]))
                else:
                    held.closes[closed] += row["realized_pnl"]
            for row in cursor.execute(CASH, named).fetchall():
                booked[row["account_id"]].cash[row["currency"]] = row["amount"]


def _one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def wire(history: History) -> list[dict[str, Any]]:
    """What a bridge sends of a history; orders are imported as placed elsewhere."""
    fills = {event.exec_id: event for event in history if event.act == "fill"}
    sizes = order_sizes(history)
    sent = []
    for number, event in enumerate(history, 1):
        fill = fills[event.exec_id]
        said = fill if event.act == "repeat" else event
        body: dict[str, Any] = {"kind": {"bust": "bust", "fee": "commission"}.get(event.act)}
        if body["kind"] is None:
            body = {
                **{"kind": "order_event", "status": "partially_filled"},
                **{"fill_quantity": said.quantity, "fill_price": said.price},
            }
        external = {
            **{"broker_order_id": f"B{fill.order}", "symbol": fill.symbol, "side": fill.side},
            **{"order_type": "market", "quantity": f"{sizes[fill.order]:f}"},
        }
        body |= {"fee": said.fee, "fee_currency": said.fee_currency} if said.fee else {}
        sent.append({
            **{"event_id": f"E{number}", "sequence": number, "external": external},
            **{"exec_id": str(event.exec_id), "exec_revision": said.revision},
            "occurred_at": (BEGIN + timedelta(minutes=said.at)).isoformat(),
            **body,
        })  # fmt: skip
    return sent


def order_sizes(history: History) -> dict[int, Decimal]:
    """How large each order must be at least, whatever its fills were corrected to on the way."""
    orders: dict[int, int] = {}
    held: dict[int, dict[int, Decimal]] = defaultdict(dict)
    sizes: dict[int, Decimal] = defaultdict(Decimal)
    for event in history:
        if event.act == "fill":
            orders[event.exec_id] = event.order
        order = orders[event.exec_id]
        if event.act in ("fill", "correction"):
            held[order][event.exec_id] = Decimal(event.quantity)
        elif event.act == "bust":
            held[order].pop(event.exec_id, None)
        sizes[order] = max(sizes[order], sum(held[order].values(), Decimal(0)))
    return sizes


@contextmanager
def books(cluster: Cluster, name: str, changes: Mapping[str, tuple[str, str]]) -> Iterator[Books]:
    """Make a database; `changes` (SQL file -> old, new) lay wrong routines, to see them found."""
    cluster.create_database(name)
    settings = cluster.settings(name)
    admin = uuid4()
    with ExitStack() as opened:
        root, migrate, api, worker, reader = (
            opened.enter_context(settings.connect(role))
            for role in ("postgres", "app_migrate", "app_write", "app_worker", "app_read")
        )
        migrate.execute(
            "SELECT app.sp_user_upsert('system:contract', %s, 'a@test.informania.dev', 'admin',"
            " FALSE)", (admin,),
        )  # fmt: skip
        for symbol, multiplier in MULTIPLIERS.items():
            migrate.execute(
                "SELECT app.sp_instrument_upsert('system:contract', %s, %s, %s, 0.01, 1, TRUE, %s)",
                (symbol, symbol, CURRENCY, multiplier),
            )
        for path, (old, new) in changes.items():
            text = (REPOSITORY_DIR / path).read_text()
            assert old in text, f"{path} does not say {old!r}"
            text = text.replace(old, new).replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
            root.execute(text.encode())
        yield Books(root, api, worker, reader, settings.secret("db_token_key"), admin)
    cluster.drop_database(name)
