"""The wake-up of the worker, sent outside of every order's transaction; side effect: Postgres.

What is owed to the brokers and what they reported have a channel each, so that neither wakes the
loop of the other. NOTIFY inside a transaction takes a lock over the whole cluster until its commit
is on disk, which costs a factor of five under load. Here one connection of its own notifies after
the commits, and all pokes that come while it is on the wire, or within two milliseconds, become
one. A notification is no data, so it does not wait for the disk either.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Literal

import asyncpg

from app.core.errors import AppError
from app.core.logging import get_logger

log = get_logger(__name__)

Channel = Literal["outbox_poke", "inbox_poke"]
OUTBOX: Channel = "outbox_poke"
INBOX: Channel = "inbox_poke"
PAUSE_S = 0.002
PAUSE_AFTER_ERROR_S = 1.0
# One round trip. LOCAL, so that no other user of the connection inherits it.
NOTIFY = "BEGIN; SET LOCAL synchronous_commit = off; {}; COMMIT"

Connect = Callable[[], AbstractAsyncContextManager[asyncpg.Connection]]


class Poker:
    """Owns the poke's connection; the worker polls anyway, so a lost poke costs time only."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._channels: set[Channel] = set()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def poke(self, channel: Channel) -> None:
        """Ask for one notification soon."""
        self._channels.add(channel)
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
                channels, self._channels = sorted(self._channels), set()
                told = "; ".join(f"NOTIFY {channel}" for channel in channels)
                await connection.execute(NOTIFY.format(told))
                await asyncio.sleep(PAUSE_S)
                await self._wanted.wait()
