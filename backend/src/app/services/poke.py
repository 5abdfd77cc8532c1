"""The wake-up of the worker, sent outside of every order's transaction; side effect: Postgres.

NOTIFY inside a transaction takes a lock over the whole cluster until its commit is on disk, which
costs a factor of five under load. Here one connection of its own notifies after the commits, and
all pokes that come while it is on the wire, or within two milliseconds, become one. A notification
is no data, so it does not wait for the disk either.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

import asyncpg

from app.core.errors import AppError
from app.core.logging import get_logger

log = get_logger(__name__)

CHANNEL = "outbox_poke"
PAUSE_S = 0.002
PAUSE_AFTER_ERROR_S = 1.0
# One round trip. LOCAL, so that no other user of the connection inherits it.
NOTIFY = f"BEGIN; SET LOCAL synchronous_commit = off; NOTIFY {CHANNEL}; COMMIT"

Connect = Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]


class Poker:
    """Owns the poke's connection; the worker polls anyway, so a lost poke costs time only."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def poke(self) -> None:
        """Ask for one notification soon."""
        self._wanted.set()
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._run(), name="outbox-poke")

    async def close(self) -> None:
        """End the task and give its connection back."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._serve()
            except (AppError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.warning("outbox_poke_failed", reason=type(error).__name__)
                await asyncio.sleep(PAUSE_AFTER_ERROR_S)

    async def _serve(self) -> None:
        await self._wanted.wait()
        async with self._connect() as connection:
            while True:
                self._wanted.clear()
                await connection.execute(NOTIFY)
                await asyncio.sleep(PAUSE_S)
                await self._wanted.wait()
