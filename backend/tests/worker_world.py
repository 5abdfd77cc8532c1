"""What the worker's tests share: a small desk, a venue that remembers, and running workers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import Database as FreshDatabase

from app.core.settings import Settings, load_settings
from app.services import sp, sp_orders
from app.services.broker import Broker, Outcome, OutcomeKind, Send
from app.services.db import Database, create_engine
from app.services.sp_rows import Changes, NewOrder
from worker.bridges import Bridges
from worker.metrics import Metrics
from worker.service import Service

DEADLINE_S = 60.0


async def eventually(
    condition: Callable[[], Awaitable[Any]] | Callable[[], Any], deadline_s: float = DEADLINE_S
) -> Any:
    """Wait until a condition holds, and give what it answered."""
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                answer = condition()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return answer
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError("the condition did not come true in time") from None


@dataclass(frozen=True)
class Trader:
    """A signed-in user as the procedures know one."""

    user_id: uuid.UUID = field(default_factory=uuid.uuid4)
    session_handle: str = field(default_factory=lambda: uuid.uuid4().hex)


class Desk:
    """Accounts with a trader, one instrument, and the ways of the API into the database."""

    def __init__(self, database: FreshDatabase) -> None:
        self.database = database
        self.trader = Trader()
        self.accounts: dict[int, str] = {}
        self._api: asyncpg.Connection | None = None
        self._api_lock = asyncio.Lock()
        self._observer: asyncpg.Connection | None = None
        self._observer_lock = asyncio.Lock()

    async def open(self, accounts: int) -> None:
        """Make the accounts and set a price."""
        self._api = await self.database.connect("app_write")
        self._observer = await self.database.connect("postgres")
        owner = await self.database.connect("app_migrate")
        await owner.execute(
            "SELECT app.sp_user_upsert('system:seed', $1, 'trader@example.test', 'trader', FALSE)",
            self.trader.user_id,
        )
        await owner.execute(
            "SELECT app.sp_instrument_upsert('system:seed', 'AAPL', 'Apple', 'USD', 0.01, 1, TRUE)"
        )
        for number in range(accounts):
            await self._open_account(owner, str(1001 + number))
        await self.set_price("20.00")

    async def _open_account(self, owner: asyncpg.Connection, broker_account: str) -> None:
        account_id = await owner.fetchval(
            "SELECT app.sp_account_upsert('system:seed', $1, 'USD', 'quantconnect', $2, TRUE)",
            f"Account {broker_account}",
            broker_account,
        )
        await owner.execute(
            "SELECT app.sp_member_set('system:seed', $1, $2, TRUE)",
            *(account_id, self.trader.user_id),
        )
        for query in (
            "SELECT app.sp_risk_limits_set('system:seed', $1, 10000, 1000000, 0.5)",
            "SELECT app.sp_cash_book('system:seed', $1, 'USD', 1000000, 'opening', 'opening')",
        ):
            await owner.execute(query, account_id)
        self.accounts[account_id] = broker_account

    async def set_price(self, price: str) -> None:
        """Move the mark of the one instrument."""
        quote = {"symbol": "AAPL", "price": price, "at": stamp()}
        await self.api(lambda api: sp.record_quotes(api, "quantconnect", [quote]))

    async def api(self, call: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        """Do what the API does: one transaction as app_write."""
        assert self._api is not None
        async with self._api_lock, self._api.transaction():
            return await call(self._api)

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Look at the tables as nobody else may."""
        assert self._observer is not None
        async with self._observer_lock:
            rows: list[asyncpg.Record] = await self._observer.fetch(query, *arguments)
            return rows

    async def value(self, query: str, *arguments: Any) -> Any:
        """Look at one figure."""
        rows = await self.fetch(query, *arguments)
        return rows[0][0] if rows else None

    async def place(self, account_id: int, name: str | None = None, **fields: Any) -> str:
        """Place a limit order, or what the fields make of it, and give its client order id."""
        values: dict[str, Any] = {"order_type": "limit", "limit_price": Decimal("19.50"), **fields}
        order = NewOrder(
            client_order_id=name or uuid.uuid4().hex,
            account_id=account_id,
            symbol="AAPL",
            side="buy",
            quantity=Decimal(10),
            time_in_force="gtc",
            **{"stop_price": None, "expires_at": None, "strategy_id": None, **values},
        )
        placed = await self.api(lambda api: sp.place_order(api, self.trader, "req-test", order))
        assert placed.status == "new", placed
        return str(placed.client_order_id)

    async def cancel(self, client_order_id: str) -> str:
        """Cancel an order and give its state."""
        order_id = await self._order_id(client_order_id)
        key = uuid.uuid4().hex
        canceled = await self.api(
            lambda api: sp.cancel_order(api, self.trader, "req-test", key=key, order_id=order_id)
        )
        return str(canceled.status)

    async def _order_id(self, client_order_id: str) -> int:
        query = "SELECT order_id FROM app.orders WHERE client_order_id = $1"
        return int(await self.value(query, client_order_id))

    async def replace(self, client_order_id: str, **values: Any) -> str:
        """Ask for other values of an order and give its state."""
        order_id, key = await self._order_id(client_order_id), uuid.uuid4().hex
        names = ("quantity", "limit_price", "stop_price")
        wanted = {name: Decimal(values[name]) if name in values else None for name in names}
        more = {"order_id": order_id, "changes": Changes(**wanted)}
        change = partial(sp_orders.replace_order, key=key, **more)
        replaced = await self.api(lambda api: change(api, self.trader, "req-test"))
        assert replaced.replace_denied is None
        return str(replaced.status)

    async def poke(self) -> None:
        """Wake the workers as the API does."""
        await self.api(lambda api: api.execute("NOTIFY outbox_poke; NOTIFY inbox_poke"))

    async def status(self, client_order_id: str) -> str:
        """Say in which state an order is."""
        return str(
            await self.value(
                "SELECT status FROM app.orders WHERE client_order_id = $1", client_order_id
            )
        )

    async def is_status(self, client_order_id: str, status: str) -> bool:
        """Say whether an order is in a state."""
        return await self.status(client_order_id) == status

    async def outbox_is_empty(self) -> bool:
        """Say whether nothing is owed."""
        return await self.value("SELECT count(*) = 0 FROM app.events_outbox") is True

    def settings(self, **overrides: Any) -> Settings:
        """Make a worker's settings for this database."""
        values: dict[str, Any] = {
            "app_env": "test",
            "secrets_dir": self.database.cluster.secrets_dir,
            "database_host": self.database.host,
            "database_port": self.database.port,
            "database_name": self.database.name,
            "database_pool_size": 2,
            "worker_metrics_port": 0,
            "poll_interval_ms": 50,
        }
        return load_settings(**values | overrides)


def stamp(moment: datetime | None = None) -> str:
    """Write a time as the wire does."""
    return (moment or datetime.now(UTC)).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Command:
    """One command as it arrived at the venue."""

    action: str
    client_order_id: str
    broker_account: str
    sender: str = ""


Script = Callable[[str, str], Awaitable[Outcome | None]]


class Venue:
    """A venue that remembers every command and answers through the inbox, as a bridge does."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.commands: list[Command] = []
        self.acknowledged: list[tuple[str, int]] = []
        self.orders: dict[str, str] = {}
        self.script: Script | None = None
        self._sequences: dict[str, int] = {}

    def sent(self, action: str, client_order_id: str | None = None) -> list[Command]:
        """List the commands of a kind, in the order of arrival."""
        return [
            command
            for command in self.commands
            if command.action == action and client_order_id in (None, command.client_order_id)
        ]

    async def take(self, command: Command) -> Outcome:
        """Remember a command, act on it, and answer as the wire would."""
        self.commands.append(command)
        scripted = (
            await self.script(command.action, command.client_order_id) if self.script else None
        )
        if scripted is not None:
            return scripted
        if command.action == "place":
            self.orders.setdefault(command.client_order_id, "accepted")
        if command.action == "cancel" and command.client_order_id in self.orders:
            self.orders[command.client_order_id] = "canceled"
            await self.report(command, {"kind": "order_event", "status": "canceled"})
        if command.action == "query":
            await self.report(command, self._state(command.client_order_id))
        return Outcome(kind=OutcomeKind.ACCEPTED)

    def _state(self, client_order_id: str) -> dict[str, Any]:
        status = self.orders.get(client_order_id)
        if status is None:
            return {"kind": "order_state", "known": False, "executions": []}
        return {
            "kind": "order_state",
            "known": True,
            "status": status,
            "broker_order_id": f"B-{client_order_id}",
            "executions": [],
        }

    async def report(self, command: Command, event: dict[str, Any]) -> None:
        """Post one event of an order, as the webhook does."""
        account = command.broker_account
        sequence = self._sequences.get(account, 0) + 1
        self._sequences[account] = sequence
        whole = {
            "sequence": sequence,
            "event_id": f"{account}-{sequence}",
            "client_order_id": command.client_order_id,
            "occurred_at": stamp(),
            "broker_order_id": f"B-{command.client_order_id}",
        } | event
        await self.heartbeat(account, [whole])

    async def heartbeat(self, account: str, events: list[dict[str, Any]] | None = None) -> int:
        """Let a bridge be heard."""
        beat = {"status": "Running", "positions": [], "cash": [], "last_sequence": 0}
        return int(
            await self.desk.api(
                lambda api: sp.inbox_put(
                    api,
                    source=f"qc:{account}",
                    deploy_id="L-1",
                    epoch=1,
                    events=events or [],
                    heartbeat=beat,
                )
            )
        )

    async def heartbeats(self) -> None:
        """Let every account's bridge be heard."""
        for account in self.desk.accounts.values():
            await self.heartbeat(account)


class PortBroker:
    """The venue behind the broker port, in the worker's own process."""

    def __init__(self, venue: Venue, name: str) -> None:
        self._venue = venue
        self._name = name

    async def place(self, send: Send) -> Outcome:
        return await self._take("place", send)

    async def cancel(self, send: Send) -> Outcome:
        return await self._take("cancel", send)

    async def replace(self, send: Send) -> Outcome:
        return await self._take("replace", send)

    async def query(self, send: Send) -> Outcome:
        return await self._take("query", send)

    async def acknowledge(self, broker_account: str, sequence: int) -> Outcome:
        self._venue.acknowledged.append((broker_account, sequence))
        return Outcome(kind=OutcomeKind.ACCEPTED)

    async def close(self) -> None:
        return None

    async def _take(self, action: str, send: Send) -> Outcome:
        return await self._venue.take(
            Command(action, send.client_order_id, send.broker_account, self._name)
        )


@dataclass
class RunningWorker:
    """A worker on this test's event loop."""

    service: Service
    metrics: Metrics
    bridges: Bridges
    stopping: asyncio.Event
    task: asyncio.Task[None]

    def metric(self, name: str, **labels: str) -> float:
        """Read a metric; 0 when it was never touched."""
        return self.metrics.registry.get_sample_value(f"informania_{name}", labels) or 0.0

    async def stop(self) -> None:
        """Stop as SIGTERM does, and pass on what it died of."""
        self.stopping.set()
        async with asyncio.timeout(20):
            await self.task


@asynccontextmanager
async def running_worker(
    venue: Venue, *, name: str = "worker", shards_max: int = 16, **overrides: Any
) -> AsyncIterator[RunningWorker]:
    """Run a worker in this process, against the real database and the venue's port."""
    settings = venue.desk.settings(**overrides)
    database = Database(create_engine(settings, "app_worker"))
    metrics, bridges, stopping = Metrics(), Bridges(), asyncio.Event()
    broker: Broker = PortBroker(venue, name)
    service = Service(
        settings,
        database=database,
        brokers={"quantconnect": broker},
        bridges=bridges,
        metrics=metrics,
        shards_max=shards_max,
    )
    task = asyncio.create_task(service.run(stopping))
    worker = RunningWorker(service, metrics, bridges, stopping, task)
    try:
        yield worker
        await worker.stop()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()


@pytest.fixture
async def desk(database: FreshDatabase) -> Desk:
    """A desk of three accounts."""
    desk = Desk(database)
    await desk.open(accounts=3)
    return desk


@pytest.fixture
async def venue(desk: Desk) -> Venue:
    """A venue whose bridges are all heard."""
    venue = Venue(desk)
    await venue.heartbeats()
    return venue


def first(desk: Desk) -> int:
    """Choose the account with the lowest number."""
    return min(desk.accounts)
