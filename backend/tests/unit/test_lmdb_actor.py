"""The actor commits in groups, answers after the commit, and bounds what waits."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lmdb_kit import open_store

from app.core.errors import PreconditionFailed, Unavailable
from app.services.lmdb_actor import Limits, LmdbActor
from app.services.lmdb_errors import BatchInvalid, Conflict, MapFull, QueueFull, StoreClosed
from app.services.lmdb_rows import Durability, Kind, Operation
from app.services.lmdb_store import LmdbStore


@pytest.fixture
async def actor(tmp_path: Path) -> AsyncIterator[LmdbActor]:
    running = LmdbActor(open_store(tmp_path / "store"))
    await running.start()
    yield running
    await running.stop()


class Held:
    """Holds the commit thread until told, so that a test decides what waits."""

    def __init__(self, store: LmdbStore) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self._apply = store.apply
        store.apply = self._held  # type: ignore[method-assign, assignment]

    def _held(self, *arguments: object, **options: object) -> object:
        self.entered.set()
        assert self.release.wait(20)
        return self._apply(*arguments, **options)  # type: ignore[arg-type]


async def test_a_put_is_readable_when_it_is_answered(actor: LmdbActor) -> None:
    version = await actor.put("quotes", "AAPL", b"20.50", ttl_s=60)
    entry = actor.get("quotes", "AAPL")
    assert entry is not None
    assert (entry.value, entry.version) == (b"20.50", version)
    assert await actor.delete("quotes", "AAPL")
    assert not await actor.delete("quotes", "AAPL")
    assert actor.get("quotes", "AAPL") is None


async def test_a_thousand_concurrent_puts_need_few_commits(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", durability=Durability.FULL)
    actor = LmdbActor(store)
    await actor.start()
    before = store.stats("quotes").txn_id
    versions = await asyncio.gather(
        *(actor.put("quotes", f"{number}", b"v" * 100) for number in range(1000))
    )
    assert store.stats("quotes").txn_id - before <= 20
    assert versions == sorted(set(versions))
    assert actor.metrics.operations == 1000
    await actor.stop()


async def test_a_group_gathers_while_a_commit_runs(actor: LmdbActor) -> None:
    held = Held(actor.store)
    first = asyncio.create_task(actor.put("quotes", "first", b""))
    await asyncio.to_thread(held.entered.wait, 20)
    rest = [asyncio.create_task(actor.put("quotes", f"{number}", b"")) for number in range(50)]
    await asyncio.sleep(0)
    assert actor.queued == 50
    assert not first.done()
    held.release.set()
    await asyncio.gather(first, *rest)
    assert actor.metrics.commits == 2


async def test_of_racing_comparisons_exactly_one_wins(actor: LmdbActor) -> None:
    version = await actor.put("strategy", "k", b"0")
    outcomes = await asyncio.gather(
        *(actor.put("strategy", "k", b"%d" % number, if_version=version) for number in range(100)),
        return_exceptions=True,
    )
    winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(winners) == 1
    losers = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(losers) == 99
    assert {loser.version for loser in losers} == {winners[0]}
    assert isinstance(losers[0], PreconditionFailed)
    assert losers[0].problem()["code"] == "version_mismatch"


async def test_a_counter_under_contention_counts_right(actor: LmdbActor) -> None:
    async def add() -> None:
        while True:
            entry = actor.get("strategy", "counter")
            number, version = (int(entry.value), entry.version) if entry else (0, 0)
            try:
                await actor.put("strategy", "counter", b"%d" % (number + 1), if_version=version)
            except Conflict:
                continue
            return

    await asyncio.gather(*(add() for _ in range(30)))
    entry = actor.get("strategy", "counter")
    assert entry is not None
    assert entry.value == b"30"


async def test_a_batch_is_all_or_nothing_and_says_why(actor: LmdbActor) -> None:
    good = Operation.put("strategy", "a", b"1")
    with pytest.raises(Conflict):
        await actor.batch([good, Operation.put("strategy", "b", b"1", if_version=9)])
    assert actor.get("strategy", "a") is None
    versions = await actor.batch([good, Operation.put("strategy", "b", b"1", if_version=0)])
    assert len(versions) == 2
    with pytest.raises(BatchInvalid):
        await actor.batch([])


async def test_batches_and_single_writes_keep_their_order(actor: LmdbActor) -> None:
    def pair(number: int) -> list[Operation]:
        return [Operation.put("strategy", key, b"%d" % number) for key in ("a", "b")]

    writes = [
        actor.batch(pair(number)) if number % 3 else actor.put("strategy", "a", b"%d" % number)
        for number in range(30)
    ]
    await asyncio.gather(*writes)
    entry = actor.get("strategy", "a")
    assert entry is not None
    assert entry.value == b"29"


@pytest.mark.parametrize(
    ("limits", "size"),
    [(Limits(queued_operations=5), 1), (Limits(queued_bytes=505), 100)],
    ids=["count", "bytes"],
)
async def test_a_full_queue_refuses_at_once_with_retry_after(
    tmp_path: Path, limits: Limits, size: int
) -> None:
    actor = LmdbActor(open_store(tmp_path / "store"), limits)
    await actor.start()
    held = Held(actor.store)
    first = asyncio.create_task(actor.put("quotes", "f", b""))
    await asyncio.to_thread(held.entered.wait, 20)
    waiting = [
        asyncio.create_task(actor.put("quotes", f"{number}", bytes(size))) for number in range(5)
    ]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull) as caught:
        await actor.put("quotes", "x", bytes(size))
    assert isinstance(caught.value, Unavailable)
    assert caught.value.headers["Retry-After"] == "1"
    assert actor.get("quotes", "x") is None
    held.release.set()
    await asyncio.gather(first, *waiting)
    assert await actor.put("quotes", "x", bytes(size))
    assert actor.metrics.refused == 1
    await actor.stop()


async def test_a_canceled_caller_disturbs_nobody(actor: LmdbActor) -> None:
    held = Held(actor.store)
    tasks = [asyncio.create_task(actor.put("quotes", f"{number}", b"v")) for number in range(3)]
    await asyncio.to_thread(held.entered.wait, 20)
    tasks[1].cancel()
    await asyncio.sleep(0)
    held.release.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert isinstance(results[0], int)
    assert isinstance(results[2], int)
    # It was already part of the commit, so it is written.
    assert actor.get("quotes", "1") is not None


async def test_stop_commits_what_waits_and_refuses_what_comes(tmp_path: Path) -> None:
    actor = LmdbActor(open_store(tmp_path / "store"), Limits(commit_operations=10))
    await actor.start()
    held = Held(actor.store)
    tasks = [asyncio.create_task(actor.put("quotes", f"{number:03}", b"")) for number in range(95)]
    await asyncio.to_thread(held.entered.wait, 20)
    stopping = asyncio.create_task(actor.stop())
    await asyncio.sleep(0)
    with pytest.raises(StoreClosed):
        await actor.put("quotes", "late", b"")
    held.release.set()
    await stopping
    assert len(set(await asyncio.gather(*tasks))) == 95
    assert actor.metrics.commits == 10
    store = open_store(tmp_path / "store")
    assert store.stats("quotes").entries == 95
    store.close()
    await actor.stop()


async def test_an_actor_that_was_not_started_takes_no_writes(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    with pytest.raises(StoreClosed):
        await LmdbActor(store).put("quotes", "k", b"")
    store.close()


async def test_a_commit_that_fails_fails_its_callers_and_the_next_goes_on(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", map_size=1 << 20, map_size_max=1 << 20)
    actor = LmdbActor(store)
    await actor.start()
    results = await asyncio.gather(
        *(actor.put("quotes", f"{number}", bytes(200_000)) for number in range(10)),
        return_exceptions=True,
    )
    assert all(isinstance(result, MapFull) for result in results)
    assert len({id(result) for result in results}) == 10
    assert await actor.put("quotes", "small", b"1")
    await actor.stop()


async def test_housekeeping_removes_expired_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    rows = [
        Operation(Kind.PUT, "quotes", b"%05d" % number, b"x", expires_ms=number % 2)
        for number in range(4000)
    ]
    store.apply(rows)
    actor = LmdbActor(store, Limits(housekeeping_s=0.01))
    await actor.start()
    async with asyncio.timeout(20):
        while actor.metrics.rows_expired < 2000:  # noqa: ASYNC110 - the rows tell no event
            await asyncio.sleep(0.01)
    assert (actor.metrics.rows_expired, store.stats("quotes").entries) == (2000, 2000)
    await actor.stop()


async def test_a_backup_is_made_while_writes_go_on(actor: LmdbActor, tmp_path: Path) -> None:
    await actor.put("quotes", "k", b"1")
    writes = [actor.put("quotes", f"{number}", bytes(100)) for number in range(200)]
    await asyncio.gather(actor.backup(tmp_path / "backup"), *writes)
    copy = open_store(tmp_path / "backup")
    assert copy.get("quotes", "k") is not None
    copy.close()


async def test_a_scan_is_bounded(actor: LmdbActor) -> None:
    await asyncio.gather(*(actor.put("quotes", f"{number:04}", b"") for number in range(1500)))
    assert len(actor.scan("quotes").rows) == 100
    page = actor.scan("quotes", limit=10**9)
    assert len(page.rows) == 1000
    assert page.position == b"0999"
