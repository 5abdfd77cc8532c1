"""What the tests of the procedures share: a desk of two accounts, seen as each role sees it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_instrument, make_user, set_price

LEASE = timedelta(seconds=20)
VALID = timedelta(seconds=10)
APPLY = "SELECT outcome FROM app.sp_apply_broker_events(ARRAY[$1::bigint])"
LIMITS = (Decimal(1000), Decimal(50_000), Decimal("0.10"))


def new_id() -> str:
    """Mint an id as a client does."""
    return uuid.uuid4().hex


def stamp(offset_s: float = 0) -> str:
    """Return a time as it is written on the wire."""
    return (datetime.now(UTC) + timedelta(seconds=offset_s)).isoformat()


def begun(send: Any) -> dict[str, int]:
    """Name a send, as its result has to; takes a row of sp_begin_sends."""
    return {name: send[name] for name in ("event_id", "epoch", "attempts")}


@contextmanager
def refused(sqlstate: str, code: str | None = None) -> Iterator[None]:
    """Expect a refusal by its SQLSTATE and code."""
    with pytest.raises(asyncpg.PostgresError) as caught:
        yield
    assert (caught.value.sqlstate, caught.value.detail) == (sqlstate, code)


@dataclass(frozen=True)
class Request:
    """An order as the API passes it on."""

    user_id: uuid.UUID | None
    account_id: int | None
    client_order_id: str | None = field(default_factory=new_id)
    session: str | None = "session"
    request_id: str | None = "request"
    symbol: str | None = "AAPL"
    side: str | None = "buy"
    order_type: str | None = "limit"
    quantity: Decimal | None = Decimal(10)
    limit_price: Decimal | None = Decimal("100.00")
    stop_price: Decimal | None = None
    time_in_force: str | None = "day"
    expires_at: datetime | None = None
    strategy_id: int | None = None

    def arguments(self) -> tuple[Any, ...]:
        """Return the arguments in the procedure's order."""
        return (
            *(self.user_id, self.session, self.request_id, self.client_order_id),
            *(self.account_id, self.symbol, self.side, self.order_type, self.quantity),
            *(self.limit_price, self.stop_price, self.time_in_force, self.expires_at),
            self.strategy_id,
        )


PLACE = """
    SELECT * FROM app.sp_place_order(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
    )
"""


def item(request: Request) -> dict[str, str]:
    """Return an order as one of a batch: strings alone, nothing that is not there."""
    names = (
        *("client_order_id", "account_id", "symbol", "side", "order_type", "quantity"),
        *("limit_price", "stop_price", "time_in_force", "strategy_id"),
    )
    values = {name: getattr(request, name) for name in names}
    if request.expires_at is not None:
        values["expires_at"] = request.expires_at.isoformat()
    return {name: str(value) for name, value in values.items() if value is not None}


async def place_many(
    connection: asyncpg.Connection | asyncpg.Pool, requests: Sequence[Request]
) -> list[asyncpg.Record]:
    """Place orders of one user as a batch."""
    first = requests[0]
    orders = json.dumps([item(request) for request in requests])
    query = "SELECT * FROM app.sp_place_orders($1, $2, $3, $4::jsonb)"
    rows: list[asyncpg.Record] = await connection.fetch(
        query, first.user_id, first.session, first.request_id, orders
    )
    return rows


async def place(connection: asyncpg.Connection, request: Request) -> asyncpg.Record:
    """Place an order."""
    return await connection.fetchrow(PLACE, *request.arguments())


# Streams whose kept bound is less than what the open orders of the account bind.
BELOW = """
    SELECT s.stream_id, s.open_bound, c.bound
    FROM app.streams AS s
    CROSS JOIN LATERAL app.sp_open_orders(s.stream_id, NULL, NULL) AS c
    WHERE (s.open_bound).value IS NOT NULL AND (
        (s.open_bound).orders < (c.bound).orders OR (s.open_bound).buys < (c.bound).buys
        OR (s.open_bound).sells < (c.bound).sells
        OR (s.open_bound).value < coalesce((c.bound).value, 'Infinity')
    )
"""


@dataclass
class World:
    """A trader with two accounts, a stranger with none, one instrument at 100."""

    database: Database
    migrate: asyncpg.Connection
    api: asyncpg.Connection
    worker: asyncpg.Connection
    root: asyncpg.Connection
    trader: uuid.UUID
    stranger: uuid.UUID
    account: int
    other: int
    owner: str = "worker-1"
    sequence: int = 0

    def request(self, **changes: Any) -> Request:
        """Return a good order, with changes."""
        return replace(Request(self.trader, self.account), **changes)

    async def place(self, **changes: Any) -> asyncpg.Record:
        """Place an order as the trader."""
        return await place(self.api, self.request(**changes))

    async def cancel(
        self, order_id: int | None, key: str | None = None, user_id: uuid.UUID | None = None
    ) -> asyncpg.Record:
        """Cancel an order as the trader."""
        query = "SELECT * FROM app.sp_cancel_order($1, 'session', 'request', $2, $3)"
        return await self.api.fetchrow(query, user_id or self.trader, key or new_id(), order_id)

    async def replace(
        self, order_id: int | None, key: str | None = None, /, **values: Any
    ) -> asyncpg.Record:
        """Replace an order as the trader."""
        query = "SELECT * FROM app.sp_replace_order($1, 'session', 'request', $2, $3, $4, $5, $6)"
        changes = [values.get(name) for name in ("quantity", "limit_price", "stop_price")]
        user_id = values.get("user_id", self.trader)
        return await self.api.fetchrow(query, user_id, key or new_id(), order_id, *changes)

    async def cancel_all(self, key: str | None = None, account: int | None = None) -> int:
        """Cancel every open order of an account as the trader."""
        query = "SELECT app.sp_cancel_all($1, 'session', 'request', $2, $3)"
        return int(
            await self.api.fetchval(query, self.trader, key or new_id(), account or self.account)
        )

    async def status(self, order_id: int) -> str:
        """Return the state of an order."""
        return str(
            await self.root.fetchval("SELECT status FROM app.orders WHERE order_id = $1", order_id)
        )

    async def order(self, order_id: int) -> asyncpg.Record:
        """Return the row of an order."""
        return await self.root.fetchrow("SELECT * FROM app.orders WHERE order_id = $1", order_id)

    async def outbox(self) -> list[asyncpg.Record]:
        """Return what is owed."""
        rows: list[asyncpg.Record] = await self.root.fetch(
            "SELECT * FROM app.events_outbox ORDER BY event_id"
        )
        return rows

    async def acquire(self, shards: int = 16) -> dict[int, int]:
        """Take shards for this owner; return their epochs."""
        query = "SELECT * FROM app.sp_acquire_shards($1, $2, $3)"
        return dict(await self.worker.fetch(query, self.owner, shards, LEASE))

    async def begin(self, limit: int = 100, valid: timedelta = VALID) -> list[asyncpg.Record]:
        """Begin sends."""
        query = "SELECT * FROM app.sp_begin_sends($1, $2, $3)"
        rows: list[asyncpg.Record] = await self.worker.fetch(query, self.owner, limit, valid)
        return rows

    async def finish(self, send: asyncpg.Record, outcome: str, **more: Any) -> int:
        """Finish a send."""
        result = {**begun(send), "outcome": outcome, **more}
        query = "SELECT app.sp_finish_sends($1, $2::jsonb)"
        return int(await self.worker.fetchval(query, self.owner, json.dumps([result])))

    async def send(self, outcome: str = "accepted") -> asyncpg.Record:
        """Begin and finish the one send that is due."""
        (send,) = await self.begin()
        assert await self.finish(send, outcome) == 1
        return send

    async def unpark(self) -> None:
        """Let the back-off of every lane be over."""
        await self.root.execute("UPDATE app.outbox_parked SET next_attempt_at = now()")

    async def interrupt(self) -> None:
        """Make the sends in flight look older than a send can last."""
        await self.root.execute("UPDATE app.events_outbox SET sending_at = now() - interval '1 h'")

    async def submit(self, **changes: Any) -> asyncpg.Record:
        """Place an order and have the route take it."""
        order = await self.place(**changes)
        assert order["status"] == "new", order
        await self.send()
        return order

    async def put(self, events: list[Any], account: int | None = None, epoch: int = 1) -> int:
        """Report events as the account's bridge."""
        source = await self.source(account or self.account)
        query = "SELECT app.sp_inbox_put($1, 'L-1', $2, $3::jsonb, '{}'::jsonb)"
        return int(await self.api.fetchval(query, source, epoch, json.dumps(events)))

    async def source(self, account: int) -> str:
        """Return what the account's bridge calls itself."""
        query = "SELECT 'qc:' || broker_account FROM app.accounts WHERE account_id = $1"
        return str(await self.root.fetchval(query, account))

    def event(self, order: asyncpg.Record, kind: str, **fields: Any) -> dict[str, Any]:
        """Return an event about an order."""
        self.sequence += 1
        return {
            "sequence": self.sequence,
            "event_id": f"event-{self.sequence}",
            "kind": kind,
            "client_order_id": order["client_order_id"],
            "occurred_at": stamp(),
            **fields,
        }

    async def apply_pending(self) -> list[str]:
        """Apply what was reported and not applied yet, in order; return the outcomes."""
        query = "SELECT inbox_id FROM app.inbox WHERE applied_at IS NULL ORDER BY inbox_id"
        return [await self.apply(row["inbox_id"]) for row in await self.root.fetch(query)]

    async def apply(self, inbox_id: int) -> str:
        """Apply one event."""
        return str(await self.worker.fetchval(APPLY, inbox_id))

    async def report(self, order: asyncpg.Record, kind: str, **fields: Any) -> str:
        """Report one event about an order and apply it."""
        await self.put([self.event(order, kind, **fields)])
        (outcome,) = await self.apply_pending()
        return outcome

    async def venue(self, order: asyncpg.Record, status: str, **fields: Any) -> str:
        """Report a state of the venue and apply it."""
        return await self.report(
            order, "order_event", status=status, **{"broker_order_id": "B-1", **fields}
        )

    async def fill(
        self, order: asyncpg.Record, quantity: str, price: str = "100", **fields: Any
    ) -> str:
        """Report a fill and apply it."""
        fields = {"status": "partially_filled", "exec_id": new_id(), "fee": "1.00", **fields}
        return await self.venue(
            order, fill_quantity=quantity, fill_price=price, fee_currency="USD", **fields
        )

    async def until_blocked(self) -> None:
        """Wait until some call waits for a lock."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        for _ in range(500):
            if await self.root.fetchval(query):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nothing waits for a lock")

    async def set_state(self, scope: str, scope_id: int, state: str) -> None:
        """Set a trading state."""
        await self.root.execute(
            """INSERT INTO app.trading_states VALUES ($1, $2, $3, 'test', 'test', now())
            ON CONFLICT (scope, scope_id) DO UPDATE SET state = excluded.state""",
            *(scope, scope_id, state),
        )

    async def assert_whole(self) -> None:
        """Check what must hold whatever happened: audit chains and figures."""
        for row in await self.root.fetch("SELECT stream_id FROM app.streams"):
            query = "SELECT broken_seq FROM app.sp_audit_verify($1)"
            assert await self.root.fetchval(query, row["stream_id"]) is None, row
        wrong = await self.root.fetch(
            """
            SELECT o.order_id FROM app.orders AS o
            LEFT JOIN app.executions AS x
                ON x.order_id = o.order_id
                AND x.kind <> 'bust'
                AND NOT EXISTS (
                    SELECT FROM app.executions AS c WHERE c.corrects = x.execution_id
                )
            GROUP BY o.order_id
            HAVING o.cum_quantity <> coalesce(sum(x.quantity), 0)
                OR (o.cum_quantity > o.quantity AND NOT o.overfill)
                OR (
                    (o.status = 'filled') <> (o.cum_quantity >= o.quantity)
                    -- Denied orders stay so whatever the venue does; a replace may make it larger.
                    AND o.status NOT IN ('denied', 'pending_replace')
                )
            """
        )
        assert wrong == []
        assert await self.root.fetch(BELOW) == []


async def open_world(database: Database) -> AsyncIterator[World]:
    """Make the desk."""
    migrate = await database.connect("app_migrate")
    trader, stranger = await make_user(migrate), await make_user(migrate)
    account = await make_account(migrate, {trader: True}, limits=LIMITS)
    other = await make_account(migrate, {trader: True}, limits=LIMITS)
    await make_instrument(migrate)
    await set_price(migrate, "AAPL", "100")
    yield World(
        database,
        migrate,
        await database.connect("app_write"),
        await database.connect("app_worker"),
        await database.connect("postgres"),
        trader,
        stranger,
        account,
        other,
    )


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[World]:
    """A trader with two accounts, as each role sees them."""
    async for world in open_world(database):
        yield world
