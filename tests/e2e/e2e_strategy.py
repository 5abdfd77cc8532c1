"""The example strategy on the whole platform: two copies, killed on their way, a signal once."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from platform_client import Platform, Trader, eventually

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/example_strategy.py"
SCOPES = ["orders:write", "orders:read", "hot:read", "hot:write"]
NAME = "strat"
SYMBOL = "MSFT"
TICK = Decimal("0.01")
MINE = "SELECT * FROM app.orders WHERE client_order_id LIKE 'strat-%' ORDER BY order_id"


@pytest.fixture
async def token(platform: Platform) -> AsyncIterator[str]:
    """A token for the trader's account, revoked at the end."""
    async with Trader(platform, "admin") as admin, Trader(platform, "trader") as trader:
        who = (await trader.client.get("/api/session")).json()
        until = datetime.now(UTC) + timedelta(hours=1)
        wanted = {
            "user_id": who["user_id"], "name": NAME, "scopes": SCOPES,
            "account_ids": trader.user["accounts"][:1], "expires_at": until.isoformat(),
        }  # fmt: skip
        made = await admin.client.post("/api/admin/tokens", json=wanted)
        assert made.status_code == httpx.codes.CREATED, made.text
        yield made.json()["token"]
        revoked = await admin.client.post(f"/api/admin/tokens/{made.json()['token_id']}/revoke")
        assert revoked.is_success, revoked.text


def start(platform: Platform, token: str) -> subprocess.Popen[bytes]:
    """Run a copy with bars of a second, so that means cross soon."""
    trader = next(user for user in platform.demo["users"] if user["role"] == "trader")
    return subprocess.Popen(
        [
            sys.executable, str(SCRIPT), "--url", platform.url, "--name", NAME,
            "--account", trader["accounts"][0], "--symbol", SYMBOL, "--quantity", "2",
            "--fast", "2", "--slow", "3", "--bar-seconds", "1",
        ],
        env={**os.environ, "INFORMANIA_TOKEN": token},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


class Market:
    """The venue's price of the symbol in our hand, so that a signal waits for no luck."""

    def __init__(self, venue: httpx.AsyncClient) -> None:
        self.venue = venue
        self.price = Decimal(0)

    async def move(self, ticks: int) -> None:
        """Move the price from where it is and hold it there."""
        if not self.price:
            quotes = (await self.venue.get("/quotes")).raise_for_status().json()
            self.price = Decimal(next(q["price"] for q in quotes if q["symbol"] == SYMBOL))
        self.price += ticks * TICK
        held = await self.venue.post(f"/market/{SYMBOL}", json={"price": str(self.price)})
        held.raise_for_status()


@pytest.fixture
async def market(platform: Platform) -> AsyncIterator[Market]:
    """The market of this platform; the replay goes on at the end."""
    async with httpx.AsyncClient(base_url=platform.venue_url, timeout=5) as venue:
        yield Market(venue)
        (await venue.delete(f"/market/{SYMBOL}")).raise_for_status()


async def test_two_copies_that_are_killed_again_and_again_order_each_signal_once(
    platform: Platform, database: asyncpg.Connection, token: str, market: Market
) -> None:
    copies = [start(platform, token), start(platform, token)]

    async def placed() -> list[Any]:
        for number, copy in enumerate(copies):
            if number == 0 or copy.poll() is not None:
                copy.kill()
                copy.wait()
                copies[number] = start(platform, token)
        # Not a wait for something: the copy that is killed next gets to another place each time.
        await asyncio.sleep(2.3)
        rows: list[Any] = await database.fetch(MINE)
        # It buys while prices rise and sells while they fall, so each round calls for the next.
        await market.move(1 if len(rows) % 2 == 0 else -1)
        return rows

    try:
        await eventually(placed, lambda rows: len(rows) >= 4, timeout_s=120)
    finally:
        for copy in copies:
            copy.kill()
            copy.wait()
    orders = await database.fetch(MINE)
    # A signal is a bar and a side: no second order of one, and never two of a side in a row.
    bars = [order["client_order_id"].split("-")[1:3] for order in orders]
    assert len({tuple(bar) for bar in bars}) == len(orders)
    sides = [order["side"] for order in orders]
    assert sides == ["buy" if number % 2 == 0 else "sell" for number in range(len(sides))]
    actors = await database.fetch(
        "SELECT DISTINCT actor FROM audit.audit_log WHERE action = 'order.place'"
        " AND detail ->> 'client_order_id' = ANY($1)",
        [order["client_order_id"] for order in orders],
    )
    assert [" token:" in row["actor"] for row in actors] == [True]
