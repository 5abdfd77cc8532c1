"""The lanes this worker may send on: one direct connection, its locks, leases and epochs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import asyncpg

from app.core.logging import get_logger
from app.outbox import repo
from app.services.poke import Channel

from .waiting import Backoff, Bell

log = get_logger(__name__)

TAKE_INTERVAL_S = 1.0
GOODBYE_TIMEOUT_S = 2.0

Clock = Callable[[], float]
Connect = Callable[[], Awaitable[asyncpg.Connection]]


def steady_clock() -> float:
    """Tell time that never jumps and, where the system offers it, also runs while suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LanesLost(Exception):
    """A shard was taken from this worker; it starts over with a new session."""


class Lease:
    """How old the last renewal is, counted from before it was asked for.

    Counting from before makes this side's lease end earlier than the database's, whatever time
    the answer took. Half of it is kept as the margin for a send that has begun.
    """

    def __init__(self, lease_s: float, clock: Clock = steady_clock) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._renewed_at = -float("inf")

    def now(self) -> float:
        return self._clock()

    def renewed(self, asked_at: float) -> None:
        """Note a renewal that was asked for at that moment and granted."""
        self._renewed_at = max(self._renewed_at, asked_at)

    @property
    def age_s(self) -> float:
        return self._clock() - self._renewed_at

    @property
    def is_fresh(self) -> bool:
        return self.age_s < self.lease_s / 2

    @property
    def is_due(self) -> bool:
        return self.age_s >= self.lease_s / 3


class Lanes:
    """One session of ownership, from connecting to losing the connection or giving it back.

    The advisory locks belong to the connection, so a worker that is killed frees its shards the
    moment its socket closes; the lease covers the worker that stalls with its socket open.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        owner: str,
        lease: Lease,
        shards_max: int,
        wakes: Mapping[Channel, Callable[[], None]],
        on_change: Callable[[int], None],
    ) -> None:
        self.owner = owner
        self.lost = asyncio.Event()
        self.bell = Bell()
        self.lease = lease
        self._in_doubt = False
        self._connect = connect
        self._shards_max = shards_max
        self._wakes = wakes
        self._on_change = on_change
        self._owned: dict[int, int] = {}
        self._connection: asyncpg.Connection | None = None

    @property
    def shards(self) -> list[int]:
        return sorted(self._owned)

    @property
    def may_send(self) -> bool:
        """Say whether anything may go out now: something is owned and the lease is young."""
        return bool(self._owned) and not self.lost.is_set() and self.lease.is_fresh

    def holds(self, shard: int, epoch: int) -> bool:
        """Say whether this very send may go out now."""
        return self.may_send and self._owned.get(shard) == epoch

    async def open(self) -> None:
        """Connect, listen for pokes and take the first shards."""
        connection = await self._connect()
        self._connection = connection
        connection.add_termination_listener(self._connection_ended)
        for channel, wake in self._wakes.items():
            await connection.add_listener(channel, _listener(wake))
        await self._take(connection)
        log.info("lanes_opened", owner=self.owner, shards=self.shards)

    async def keep(self, over: asyncio.Event) -> None:
        """Renew and take shards until the session is over; ends it when a lane is lost."""
        backoff = Backoff()
        pause_s = self._pause_s()
        while True:
            await self.bell.wait(pause_s)
            if over.is_set():
                return None
            try:
                await self._tend()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, LanesLost) as error:
                if self._must_end(error):
                    return self._end(type(error).__name__)
                log.warning("lanes_not_renewed", owner=self.owner, error=type(error).__name__)
                pause_s = backoff.next_s()
            else:
                backoff.reset()
                pause_s = self._pause_s()

    def check_soon(self) -> None:
        """Ask the database at once what is still owned, because something seems to be lost."""
        self._in_doubt = True
        self.bell.ring()

    async def close(self) -> None:
        """Give the shards back and hang up; never raises and never waits for long."""
        self._change({})
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.remove_termination_listener(self._connection_ended)
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT_S):
                if not connection.is_closed():
                    await repo.release_shards(connection, self.owner)
                await connection.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("lanes_not_released", owner=self.owner, error=type(error).__name__)
            connection.terminate()

    def _pause_s(self) -> float:
        return min(TAKE_INTERVAL_S, self.lease.lease_s / 6)

    async def _tend(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed():
            raise LanesLost
        if self._owned and (self.lease.is_due or self._in_doubt):
            await self._renew(connection)
            self._in_doubt = False
        if len(self._owned) < self._shards_max:
            await self._take(connection)

    async def _renew(self, connection: asyncpg.Connection) -> None:
        asked_at = self.lease.now()
        kept = await repo.renew_shards(connection, self.owner, lease_s=self.lease.lease_s)
        renewed = {shard.shard: shard.epoch for shard in kept}
        if not self._owned.items() <= renewed.items():
            raise LanesLost
        self.lease.renewed(asked_at)

    async def _take(self, connection: asyncpg.Connection) -> None:
        asked_at = self.lease.now()
        taken = await repo.acquire_shards(
            connection, self.owner, shards_max=self._shards_max, lease_s=self.lease.lease_s
        )
        owned = {row.shard: row.epoch for row in taken}
        if not self._owned.items() <= owned.items():
            raise LanesLost
        fresh = sorted(owned.keys() - self._owned.keys())
        if not fresh:
            return
        if not self._owned:
            self.lease.renewed(asked_at)
        self._change(owned)
        log.info("shards_taken", owner=self.owner, shards=fresh)

    def _must_end(self, error: Exception) -> bool:
        connection = self._connection
        hung_up = connection is None or connection.is_closed()
        return hung_up or isinstance(error, LanesLost) or self.lease.age_s > self.lease.lease_s

    def _end(self, cause: str) -> None:
        if not self.lost.is_set():
            log.warning("lanes_lost", owner=self.owner, cause=cause, shards=self.shards)
        self._change({})
        self.lost.set()

    def _change(self, owned: dict[int, int]) -> None:
        self._owned = owned
        self._on_change(len(owned))
        for wake in self._wakes.values():
            wake()

    def _connection_ended(self, _connection: asyncpg.Connection) -> None:
        self._end("connection_ended")


def _listener(wake: Callable[[], None]) -> Callable[..., None]:
    return lambda *_: wake()
