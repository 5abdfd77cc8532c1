"""A shard has one owner: by lock while its session lives, by lease while it is awake."""

from datetime import timedelta

import asyncpg
import pytest
from sp_world import LEASE, World, desk, refused

__all__ = ["desk"]

Shards = dict[int, int]


async def _acquire(connection: asyncpg.Connection, owner: str, most: int = 16) -> Shards:
    query = "SELECT * FROM app.sp_acquire_shards($1, $2, $3)"
    return dict(await connection.fetch(query, owner, most, LEASE))


async def _renew(connection: asyncpg.Connection, owner: str) -> Shards:
    return dict(await connection.fetch("SELECT * FROM app.sp_renew_shards($1, $2)", owner, LEASE))


async def _let_leases_end(desk: World) -> None:
    await desk.root.execute("UPDATE app.outbox_shards SET lease_until = now() - interval '1 s'")


async def _gone(desk: World, connection: asyncpg.Connection) -> None:
    pid = connection.get_server_pid()
    await connection.close()
    query = "SELECT count(*) FROM pg_locks WHERE pid = $1"
    for _ in range(1000):
        if not await desk.root.fetchval(query, pid):
            return
    raise AssertionError("the session still holds its locks")


async def test_two_workers_share_the_shards_and_renew_their_own(desk: World) -> None:
    second = await desk.database.connect("app_worker")
    first_shards = await _acquire(desk.worker, "one", 10)
    second_shards = await _acquire(second, "two")
    assert (len(first_shards), len(second_shards)) == (10, 6)
    assert not set(first_shards) & set(second_shards)
    assert await _acquire(desk.worker, "one", 10) == first_shards, "the epochs stay"
    assert await _renew(second, "two") == second_shards


async def test_the_shards_of_a_dead_session_are_free_at_once_and_count_on(desk: World) -> None:
    dead = await desk.database.connect("app_worker")
    before = await _acquire(dead, "one")
    assert await _acquire(desk.worker, "two") == {}
    await _gone(desk, dead)
    after = await _acquire(desk.worker, "two")
    assert after == {shard: epoch + 1 for shard, epoch in before.items()}


async def test_the_same_owner_in_a_new_session_counts_as_new_hands(desk: World) -> None:
    dead = await desk.database.connect("app_worker")
    before = await _acquire(dead, "one")
    assert await _acquire(desk.worker, "one") == before, "its other session still lives"
    await _gone(desk, dead)
    assert await _acquire(desk.worker, "one") == {s: epoch + 1 for s, epoch in before.items()}


async def test_the_same_process_that_reconnects_may_renew_and_holds_the_locks_again(
    desk: World,
) -> None:
    dead = await desk.database.connect("app_worker")
    before = await _acquire(dead, "one")
    await _gone(desk, dead)
    assert await _renew(desk.worker, "one") == before
    other = await desk.database.connect("app_worker")
    assert await _acquire(other, "two") == {}


async def test_a_stalled_owner_loses_its_shards_and_cannot_renew(desk: World) -> None:
    stalled = await desk.database.connect("app_worker")
    before = await _acquire(stalled, "one")
    await _let_leases_end(desk)
    after = await _acquire(desk.worker, "two")
    assert after == {shard: epoch + 1 for shard, epoch in before.items()}
    assert await _renew(stalled, "one") == {}
    assert await _acquire(stalled, "one") == {}, "and it gives the locks back"
    assert await _renew(desk.worker, "two") == after
    await _gone(desk, stalled)
    third = await desk.database.connect("app_worker")
    assert await _acquire(third, "three") == {}, "the new owner holds them"


async def test_a_lock_that_comes_free_says_nothing_about_an_owner_by_lease_alone(
    desk: World,
) -> None:
    stalled = await desk.database.connect("app_worker")
    await _acquire(stalled, "one")
    await _let_leases_end(desk)
    after = await _acquire(desk.worker, "two")
    await _gone(desk, stalled)
    third = await desk.database.connect("app_worker")
    assert await _acquire(third, "three") == {}
    assert await _renew(desk.worker, "two") == after


async def test_an_owner_whose_lease_ended_begins_a_new_epoch(desk: World) -> None:
    before = await _acquire(desk.worker, "one")
    await _let_leases_end(desk)
    assert await _renew(desk.worker, "one") == {}
    assert await _acquire(desk.worker, "one") == {s: epoch + 1 for s, epoch in before.items()}


async def test_released_shards_are_free_for_others(desk: World) -> None:
    await _acquire(desk.worker, "one")
    assert await desk.worker.fetchval("SELECT app.sp_release_shards('one')") == 16
    assert await desk.worker.fetchval("SELECT app.sp_release_shards('one')") == 0
    other = await desk.database.connect("app_worker")
    assert len(await _acquire(other, "two")) == 16


@pytest.mark.parametrize(
    ("owner", "most", "lease_s", "code"),
    [
        (None, 16, 20, "owner_invalid"),
        ("", 16, 20, "owner_invalid"),
        ("one", None, 20, "max_invalid"),
        ("one", 0, 20, "max_invalid"),
        ("one", 16, 0, "lease_invalid"),
        ("one", 16, 3601, "lease_invalid"),
        ("one", 16, None, "lease_invalid"),
    ],
)
async def test_bad_arguments_are_refused(
    desk: World, owner: str | None, most: int | None, lease_s: int | None, code: str
) -> None:
    lease = None if lease_s is None else timedelta(seconds=lease_s)
    with refused("IN422", code):
        await desk.worker.fetch("SELECT app.sp_acquire_shards($1, $2, $3)", owner, most, lease)
