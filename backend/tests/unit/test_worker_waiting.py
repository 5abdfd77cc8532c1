"""How the worker's loops wait, and what a failure does to them."""

import asyncio

import asyncpg
import pytest

from app.core.errors import DatabaseContention, DatabaseUnavailable
from worker.faults import is_database_absent
from worker.waiting import Backoff, Bell, Loop, repeat, until


async def test_a_ring_before_the_wait_is_not_lost() -> None:
    bell = Bell()
    bell.ring()
    async with asyncio.timeout(5):
        await bell.wait(timeout_s=3600)


async def test_a_ring_wakes_the_waiting_loop_once() -> None:
    bell = Bell()
    waiting = asyncio.create_task(bell.wait(timeout_s=3600))
    await asyncio.sleep(0)
    bell.ring()
    async with asyncio.timeout(5):
        await waiting
    again = asyncio.create_task(bell.wait(timeout_s=3600))
    done, _ = await asyncio.wait([again], timeout=0.05)
    again.cancel()
    assert not done


async def test_a_wait_ends_by_itself_and_says_that_nothing_came() -> None:
    assert await until(asyncio.Event(), timeout_s=0.01) is False


def test_delays_double_up_to_the_limit_and_start_over_after_a_success() -> None:
    backoff = Backoff(delay_min_s=1, delay_max_s=4)
    delays = [backoff.next_s() for _ in range(6)]
    ceilings = [1, 2, 4, 4, 4, 4]
    assert all(0.1 <= delay <= top for delay, top in zip(delays, ceilings, strict=True))
    backoff.reset()
    assert backoff.next_s() <= 1


async def run_loop(
    step_results: list[bool | Exception], *, every_s: float
) -> tuple[int, list[str]]:
    over, calls = asyncio.Event(), 0
    failures: list[str] = []

    async def step() -> bool:
        nonlocal calls
        result = step_results[calls]
        calls += 1
        if calls == len(step_results):
            over.set()
        if isinstance(result, Exception):
            raise result
        return result

    bell = Bell()
    async with asyncio.timeout(10):
        loop = asyncio.create_task(
            repeat(Loop("step", step, every_s), bell=bell, over=over, failed=failures.append)
        )
        await over.wait()
        bell.ring()
        await loop
    return calls, failures


async def test_a_step_with_more_to_do_is_taken_again_at_once() -> None:
    assert await run_loop([True, True, True, False], every_s=3600) == (4, [])


async def test_a_step_that_raises_is_counted_and_taken_again() -> None:
    results = [asyncpg.AdminShutdownError("gone"), ValueError("a bug of ours"), True, False]
    assert await run_loop(results, every_s=3600) == (4, ["step", "step"])


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.ConnectionDoesNotExistError("connection was closed"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.ReadOnlySQLTransactionError("a standby"),
        ConnectionRefusedError(),
        TimeoutError(),
        DatabaseUnavailable(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_absent_database_is_told_from_a_refusal(error: Exception) -> None:
    assert is_database_absent(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DivisionByZeroError("poison"),
        asyncpg.CheckViolationError("poison"),
        asyncpg.DeadlockDetectedError("collision"),
        asyncpg.UndefinedFunctionError("not migrated"),
        DatabaseContention(),
        KeyError("a bug of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_is_not_taken_for_an_absent_database(error: Exception) -> None:
    assert not is_database_absent(error)
