"""Placing through the public door, session and all, against the procedure behind it.

Once beside the worker and the venue, which take their share of the cores on either side, and once
while both are stopped, so that it is the door alone that is compared.
"""

import asyncio
import atexit
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import uvloop
from bench.throughput import calls_a_second
from fixtures_postgres import Cluster
from load.demo import write_load_demo
from platform_client import Platform, Trader

TRADERS = 8
# Somebody who may ask whether the audit log is whole.
ADMINISTRATOR = """
[[user]]
email = "admin@demo.informania.dev"
role = "admin"
accounts = []
"""
PROCEDURE = """
SELECT status FROM app.sp_place_order(
    $1, $2, 'bench', $3, $4, 'AAPL', 'buy', 'market', 1, NULL, NULL, 'day', NULL, NULL
)
"""
# Limits that nobody meets, a price that is new, and a commit as in the other rows.
PREPARE = """
UPDATE app.risk_limits SET
    open_orders_max = 1000000000, orders_per_minute_max = 1000000000, leverage_max = 100,
    position_quantity_max = 1e11, daily_loss_max = 1e11;
UPDATE app.users SET orders_per_minute_max = 1000000000;
UPDATE market.last_prices SET received_at = clock_timestamp() + interval '10 min';
ALTER SYSTEM SET commit_delay = 1000;
ALTER SYSTEM SET commit_siblings = 0;
SELECT pg_reload_conf();
"""


def http_against_procedure(_cluster: Cluster, seconds: float) -> tuple[float, float]:
    """Orders a second of eight traders through Caddy, and of the same calls by asyncpg."""
    with new_platform() as platform:
        return _measured(platform, seconds)


def door_against_procedure(_cluster: Cluster, seconds: float) -> tuple[float, float]:
    """The same while nothing carries the orders away."""
    with new_platform() as platform, stopped(platform, "worker", "paper"):
        return _measured(platform, seconds)


def _measured(platform: Platform, seconds: float) -> tuple[float, float]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_both(platform, seconds))


@contextmanager
def stopped(platform: Platform, *services: str) -> Iterator[None]:
    """Stop services where they are; they go on afterwards."""
    pids = [platform.recorded()["services"][name]["pid"] for name in services]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _both(platform: Platform, seconds: float) -> tuple[float, float]:
    await _prepare(platform)
    doors = [await Door.opened(platform, number) for number in range(TRADERS)]
    through = await calls_a_second([door.place for door in doors], seconds)
    await _prepare(platform)
    calls = [await Call.opened(platform, door) for door in doors]
    direct = await calls_a_second([call.place for call in calls], seconds)
    for door in doors:
        await door.close()
    for call in calls:
        await call.close()
    return through, direct


@dataclass
class Door:
    """A signed-in trader on one kept connection, with a client that costs little."""

    account_id: str
    user_id: UUID
    session: str
    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def opened(cls, platform: Platform, number: int) -> "Door":
        """Sign in and connect."""
        person = Trader(platform, "trader")
        person.user = [u for u in platform.demo["users"] if u["role"] == "trader"][number]
        async with person:
            who = (await person.client.get("/api/session")).json()
            cookies = "; ".join(f"{name}={value}" for name, value in person.client.cookies.items())
        place = urlsplit(platform.url)
        head = (
            f"POST /api/orders HTTP/1.1\r\nHost: {place.netloc}\r\nOrigin: {platform.url}\r\n"
            f"rid: anti-csrf\r\nCookie: {cookies}\r\nContent-Type: application/json\r\n"
        ).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        handle = who["session_handle"]
        return cls(person.user["accounts"][0], UUID(who["user_id"]), handle, head, reader, writer)

    async def place(self) -> None:
        """One order; anything but a new one is a failure."""
        body = json.dumps(
            {
                "account_id": self.account_id, "symbol": "AAPL", "side": "buy",
                "order_type": "market", "quantity": "1", "time_in_force": "day",
            }
        ).encode()  # fmt: skip
        tail = f"Idempotency-Key: {uuid4()}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.writer.write(self.head + tail + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(None, 1)[0])
        order: dict[str, Any] = json.loads(await self.reader.readexactly(length))
        if not answer.startswith(b"HTTP/1.1 201 ") or order["status"] != "new":
            raise RuntimeError(f"{answer!r}{order}")

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        await self.writer.wait_closed()


@dataclass
class Call:
    """The same trader's call of the procedure."""

    door: Door
    connection: asyncpg.Connection

    @classmethod
    async def opened(cls, platform: Platform, door: Door) -> "Call":
        """Connect as the API does."""
        password = (platform.run_dir / "secrets" / "app_write_password").read_text().strip()
        connection = await asyncpg.connect(
            host="127.0.0.1", port=platform.port_base + 4, user="app_write",
            database="informania", password=password,
        )  # fmt: skip
        return cls(door, connection)

    async def place(self) -> None:
        """One order in a transaction of its own, as the API writes it."""
        async with self.connection.transaction():
            status = await self.connection.fetchval(
                PROCEDURE, self.door.user_id, self.door.session, str(uuid4()),
                int(self.door.account_id),
            )  # fmt: skip
        if status != "new":
            raise RuntimeError(f"the order is {status}")

    async def close(self) -> None:
        """Hang up."""
        await self.connection.close()


async def _prepare(platform: Platform) -> None:
    connection = await platform.database()
    try:
        for statement in PREPARE.split(";")[:-1]:
            await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def new_platform() -> Iterator[Platform]:
    """Run a platform of its own; who comes after it finds no order of this one."""
    with tempfile.TemporaryDirectory(prefix="informania-bench-", dir="/dev/shm") as name:
        platform = _platform(Path(name))
        try:
            yield platform.start()
        finally:
            platform.stop()


@cache
def running_platform() -> Platform:
    """Start one platform for all rounds; it ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="informania-bench-", dir="/dev/shm"))
    platform = _platform(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(platform.stop)
    return platform.start()


def _platform(folder: Path) -> Platform:
    demo = write_load_demo(folder / "demo", TRADERS)
    with demo.open("a") as written:
        written.write(ADMINISTRATOR)
    return Platform(
        folder / "run",
        env={
            "DEMO_CONFIG": str(demo), "SIGNIN_LIMIT_PER_MINUTE": "1000", "LOG_LEVEL": "warning",
        },
    )  # fmt: skip
