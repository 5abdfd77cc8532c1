"""The one writer of the hot store: group commit on a thread, reads on the event loop.

The layout's single-writer semaphore, in another form: whoever wants to write hands in what he
wants, and waits until the commit that holds it is on disk. While one commit runs, the next group
gathers, so there is no timer: a lone write waits for one commit, a thousand wait for few.
"""

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.core.logging import get_logger
from app.services.lmdb_errors import Aborted, BatchInvalid, LmdbError, QueueFull, StoreClosed
from app.services.lmdb_rows import BATCH_OPERATIONS_MAX, MIB, Entry, Operation, Page, Stats
from app.services.lmdb_store import LmdbStore

log = get_logger(__name__)

LmdbActorError = LmdbError
SCAN_ROWS_MAX = 1000
SWEEP_PAGES_MAX = 50
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What may wait, and what one commit may hold."""

    queued_operations: int = 10_000
    queued_bytes: int = 32 * MIB
    commit_operations: int = 1000
    commit_bytes: int = 8 * MIB
    housekeeping_s: float = 60.0
    drain_timeout_s: float = 10.0


@dataclass(slots=True)
class Metrics:
    """What the actor has done since it started."""

    commits: int = 0
    operations: int = 0
    refused: int = 0
    readers_freed: int = 0
    rows_expired: int = 0
    commit_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Request:
    """Operations that are answered together; more than one means all or none."""

    operations: tuple[Operation, ...]
    size: int
    answer: asyncio.Future[list[int]]

    @property
    def atomic(self) -> bool:
        return len(self.operations) > 1

    def resolve(self, results: Sequence[int | LmdbError]) -> None:
        """Answer, unless the caller was canceled: then it is written and nobody asks."""
        failures = [result for result in results if isinstance(result, LmdbError)]
        causes = [error for error in failures if not isinstance(error, Aborted)]
        if failures:
            self.reject((causes or failures)[0])
        elif not self.answer.done():
            self.answer.set_result([result for result in results if isinstance(result, int)])

    def reject(self, error: BaseException) -> None:
        """Fail with an exception of its own: a shared one would gather tracebacks."""
        if not self.answer.done():
            self.answer.set_exception(copy.copy(error))


class LmdbActor:
    """Owns an open store from `start` to `stop`."""

    def __init__(self, store: LmdbStore, limits: Limits | None = None) -> None:
        """Nothing runs before `start`."""
        self.store = store
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self._queue: deque[_Request] = deque()
        self._queued_operations = 0
        self._queued_bytes = 0
        self._committing = False
        self._open = False
        self._idle = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hot-store")
        self._housekeeping: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """Return how many operations wait for a commit."""
        return self._queued_operations

    async def start(self) -> None:
        """Take writes, and look after readers and expired rows."""
        self._idle.set()
        self._open = True
        self._housekeeping = asyncio.create_task(self._keep_house(), name="hot-store-housekeeping")

    async def stop(self) -> None:
        """Take no more writes, commit those that wait, close the store."""
        if not self._open:
            return
        self._open = False
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._housekeeping
        try:
            await asyncio.wait_for(self._idle.wait(), self.limits.drain_timeout_s)
            await self._in_thread(self.store.close)
        except TimeoutError:
            log.error("hot_store_not_drained", queued=self._queued_operations)
        self._thread.shutdown(wait=False)

    def get(self, table: str, key: str | bytes) -> Entry | None:
        """Read at once, without a lock: a hop to a thread costs far more than the read."""
        return self.store.get(table, key)

    def scan(
        self,
        table: str,
        *,
        prefix: bytes = b"",
        position: bytes | None = None,
        limit: int = 100,
    ) -> Page:
        """Read one page of rows in key order."""
        bounded = max(1, min(limit, SCAN_ROWS_MAX))
        return self.store.scan(table, prefix=prefix, position=position, limit=bounded)

    def stats(self, table: str) -> Stats:
        """Return sizes and limits of the store."""
        return self.store.stats(table)

    async def put(
        self,
        table: str,
        key: str | bytes,
        value: bytes,
        *,
        if_version: int | None = None,
        ttl_s: float | None = None,
    ) -> int:
        """Write a row and return its version, once it is on disk."""
        operation = Operation.put(table, key, value, if_version=if_version, ttl_s=ttl_s)
        return (await self.batch([operation]))[0]

    async def delete(self, table: str, key: str | bytes, *, if_version: int | None = None) -> bool:
        """Remove a row; says whether it was there, once it is gone from disk."""
        operation = Operation.delete(table, key, if_version=if_version)
        return (await self.batch([operation]))[0] != 0

    async def batch(self, operations: Sequence[Operation]) -> list[int]:
        """Run all operations or none of them, in one commit; returns their versions."""
        if not 1 <= len(operations) <= BATCH_OPERATIONS_MAX:
            raise BatchInvalid
        size = sum(operation.size for operation in operations)
        if not self._open:
            raise StoreClosed
        if (
            self._queued_operations + len(operations) > self.limits.queued_operations
            or self._queued_bytes + size > self.limits.queued_bytes
        ):
            self.metrics.refused += len(operations)
            raise QueueFull
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._enqueue(_Request(tuple(operations), size, answer))
        return await answer

    async def backup(self, target: Path) -> None:
        """Write a compact copy to a new folder; reads and writes go on meanwhile."""
        await asyncio.to_thread(self.store.backup, target)

    def _enqueue(self, request: _Request) -> None:
        self._queue.append(request)
        self._queued_operations += len(request.operations)
        self._queued_bytes += request.size
        self._idle.clear()
        if not self._committing:
            self._committing = True
            # At the end of this turn of the loop: all that it submits goes into one commit.
            asyncio.get_running_loop().call_soon(self._commit_next)

    def _commit_next(self) -> None:
        group = self._take_group()
        operations = [operation for request in group for operation in request.operations]
        started = time.monotonic()
        atomic = group[0].atomic
        commit = asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self.store.apply(operations, atomic=atomic)
        )
        commit.add_done_callback(lambda done: self._committed(group, done, started))

    def _take_group(self) -> list[_Request]:
        """Take the next all-or-none request alone, or as many single ones as a commit holds."""
        group = [self._queue.popleft()]
        count, size = len(group[0].operations), group[0].size
        while (
            not group[0].atomic
            and self._queue
            and not self._queue[0].atomic
            and count < self.limits.commit_operations
            and size + self._queue[0].size <= self.limits.commit_bytes
        ):
            request = self._queue.popleft()
            group.append(request)
            count += 1
            size += request.size
        self._queued_operations -= count
        self._queued_bytes -= size
        return group

    def _committed(
        self,
        group: list[_Request],
        done: asyncio.Future[list[int | LmdbError]],
        started: float,
    ) -> None:
        self.metrics.commits += 1
        self.metrics.commit_s = time.monotonic() - started
        error = done.exception()
        if error is None:
            self._answer(group, done.result())
        else:
            log.error("hot_store_commit_failed", reason=str(error))
            for request in group:
                request.reject(error)
        if self._queue:
            self._commit_next()
        else:
            self._committing = False
            self._idle.set()

    def _answer(self, group: list[_Request], results: list[int | LmdbError]) -> None:
        self.metrics.operations += len(results)
        offset = 0
        for request in group:
            count = len(request.operations)
            request.resolve(results[offset : offset + count])
            offset += count

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self.limits.housekeeping_s)
            try:
                self.metrics.readers_freed += await self._in_thread(self.store.reader_check)
                for table in self.store.tables:
                    await self._sweep(table)
            except LmdbError as error:
                log.warning("hot_store_housekeeping_failed", reason=str(error))

    async def _sweep(self, table: str) -> None:
        position: bytes | None = None
        for _ in range(SWEEP_PAGES_MAX):
            removed, position = await self._in_thread(self._sweep_page(table, position))
            self.metrics.rows_expired += removed
            if position is None:
                return

    def _sweep_page(
        self, table: str, position: bytes | None
    ) -> Callable[[], tuple[int, bytes | None]]:
        return lambda: self.store.sweep(table, position)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
