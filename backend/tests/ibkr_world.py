"""What the tests of the route `ib` share: an adapter before a TWS face, and a desk's inbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tws_face import ACCOUNT, TwsFace
from worker_world import Desk, eventually

from app.services.broker import Send
from app.services.ibkr_adapter import InteractiveBrokersBroker, Patience

CLIENT_ID = 7
QUICK = Patience(
    connect_s=2,
    snapshot_s=2,
    beat_every_s=60,
    settle_s=0,
    absent_again_s=0.05,
    fee_s=60,
    end_s=0.1,
    retry_min_s=0.01,
    retry_max_s=0.02,
)


@dataclass
class Inbox:
    """Keeps what the adapter reports, and refuses as long as it is told to."""

    events: list[dict[str, Any]] = field(default_factory=list)
    heartbeats: int = 0
    refuses: bool = False
    refused: int = 0

    async def store(
        self, account: str, events: list[dict[str, Any]], heartbeat: dict[str, Any] | None
    ) -> None:
        if self.refuses:
            self.refused += 1
            raise ConnectionError
        assert account == ACCOUNT
        self.events += deepcopy(events)
        self.heartbeats += heartbeat is not None

    def of(self, ref: str, kind: str | None = None) -> list[dict[str, Any]]:
        """List an order's events."""
        return [
            event
            for event in self.events
            if event["client_order_id"] == ref and kind in (None, event["kind"])
        ]

    def statuses(self, ref: str) -> list[str]:
        """List what was reported of an order, each thing once."""
        return list(dict.fromkeys(event["status"] for event in self.of(ref) if "status" in event))

    def fills(self, ref: str) -> list[dict[str, Any]]:
        """List an order's executions."""
        return [event for event in self.of(ref) if "exec_id" in event]


@dataclass
class Bench:
    """An adapter, what it talks to, and what it reported."""

    face: TwsFace
    adapter: InteractiveBrokersBroker
    inbox: Inbox

    async def ready(self) -> None:
        """Wait until the adapter may send."""
        await eventually(lambda: self.adapter.is_ready)


@asynccontextmanager
async def bench(
    face: TwsFace | None = None, *, send_timeout_s: float = 2.0, **patience: float
) -> AsyncIterator[Bench]:
    """Run an adapter before a face."""
    inbox = Inbox()
    async with (face or TwsFace()).listening() as listening:
        adapter = make_adapter(listening, inbox, send_timeout_s, **patience)
        adapter.start()
        try:
            yield Bench(listening, adapter, inbox)
        finally:
            await adapter.close()


def make_adapter(
    face: TwsFace, inbox: Inbox, send_timeout_s: float = 2.0, **patience: float
) -> InteractiveBrokersBroker:
    """Make an adapter that is quick to give up."""
    return InteractiveBrokersBroker(
        host="127.0.0.1",
        port=face.port,
        client_id=CLIENT_ID,
        store=inbox.store,
        send_timeout_s=send_timeout_s,
        patience=replace(QUICK, **patience),
    )


def send_of(ref: str = "one", **fields: Any) -> Send:
    """Make a send of a limit order; fields win."""
    values: dict[str, Any] = {
        "event_id": 1,
        "shard": 0,
        "epoch": 1,
        "action": "place",
        "kind": "order.place.v1",
        "order_id": 1,
        "client_order_id": ref,
        "account_id": 1,
        "route": "ib",
        "broker_account": ACCOUNT,
        "symbol": "AAPL",
        "side": "buy",
        "order_type": "limit",
        "quantity": Decimal("10.000"),
        "limit_price": Decimal("20.50"),
        "stop_price": None,
        "time_in_force": "day",
        "expires_at": None,
        "valid_until": datetime.now(UTC) + timedelta(seconds=10),
        "attempts": 1,
        "request_id": "r",
        **fields,
    }
    return Send(**values)


class IbDesk(Desk):
    """A desk with one account, at Interactive Brokers."""

    async def open(self, accounts: int = 0) -> None:
        await super().open(accounts)
        owner = await self.database.connect("app_migrate")
        self.account_id: int = await owner.fetchval(
            "SELECT app.sp_account_upsert('system:seed', 'IB', 'USD', 'ib', $1, TRUE)", ACCOUNT
        )
        await owner.execute(
            "SELECT app.sp_member_set('system:seed', $1, $2, TRUE)",
            *(self.account_id, self.trader.user_id),
        )
        await owner.execute(
            "SELECT app.sp_risk_limits_set('system:seed', $1, 10000, 1000000, 0.5)",
            self.account_id,
        )
        await owner.execute(
            "SELECT app.sp_cash_book('system:seed', $1, 'USD', 1000000, 'opening', 'opening')",
            self.account_id,
        )

    async def books(self, client_order_id: str) -> tuple[Decimal, Decimal, int]:
        """Give position, fees and the number of executions of an order."""
        executions = await self.value(
            "SELECT count(*) FROM app.executions JOIN app.orders USING (order_id)"
            " WHERE client_order_id = $1",
            client_order_id,
        )
        (position,) = await self.fetch("SELECT quantity, fees FROM app.positions")
        return position["quantity"], position["fees"], executions
