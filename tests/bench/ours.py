"""Places orders our way: one procedure call over the driver's own connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from random import randint
from uuid import UUID, uuid4

from bench.bench_cluster import ACCOUNTS, DATABASE
from fixtures_postgres import Cluster
from pydantic import SecretStr

from app.core.settings import AppEnv, Settings
from app.services.db import Database, create_engine
from app.services.placements import Placements
from app.services.sp_orders import Placement
from app.services.sp_rows import NewOrder

CONNECTIONS = 8
BATCH_MAX = 50


@dataclass(frozen=True)
class Placer:
    """Whose order it is."""

    user_id: UUID
    session_handle: str = "bench"


@dataclass(frozen=True)
class Ours:
    """The API's own way to the database."""

    database: Database
    placements: Placements
    poke: bool

    async def by_procedure(self) -> None:
        """One order of a random account."""
        await self.place(randint(1, ACCOUNTS))

    async def place(self, account_id: int) -> str:
        """One order of an account, and the wake-up of the worker when that is on; its id."""
        client_order_id = str(uuid4())
        order = NewOrder(
            client_order_id=client_order_id, account_id=account_id, symbol="AAPL", side="buy",
            order_type="limit", quantity=Decimal(10), limit_price=Decimal(99), stop_price=None,
            time_in_force="day", expires_at=None, strategy_id=None,
        )  # fmt: skip
        placer = Placer(UUID(int=account_id))
        done = await self.placements.place(Placement(placer, "bench", order))
        if done.status != "new":
            raise RuntimeError(f"the order is {done.status}: {done.reason_code}")
        if self.poke:
            self.database.notify_poke()
        return client_order_id


@asynccontextmanager
async def opened(
    cluster: Cluster, *, poke: bool = False, gathered: bool = True
) -> AsyncIterator[Ours]:
    """Open the API's pool on the bench's database."""
    settings = Settings(
        app_env=AppEnv.TEST, database_host=cluster.host, database_port=cluster.port,
        database_name=DATABASE, database_pool_size=CONNECTIONS, database_acquire_timeout_s=30,
        app_write_password=SecretStr(cluster.password("app_write")),
    )  # fmt: skip
    database = Database(create_engine(settings, "app_write"))
    placements = Placements(
        database, batch_max=BATCH_MAX if gathered else 1, batch_wait_s=0.002, patience_s=30
    )
    try:
        yield Ours(database, placements, poke)
    finally:
        await placements.close()
        await database.close()
