"""The worker keeps the points of the equity curve, and of several workers only one does."""

from worker_world import Desk, Venue, desk, eventually, running_worker, venue

__all__ = ["desk", "venue"]


async def test_the_worker_keeps_what_the_accounts_are_worth(desk: Desk, venue: Venue) -> None:
    async def sampled() -> int:
        return int(await desk.value("SELECT count(DISTINCT account_id) FROM market.equity"))

    assert await sampled() == 0
    async with running_worker(venue):
        await eventually(sampled)
    assert await sampled() == len(desk.accounts)


async def test_a_worker_that_does_not_lead_keeps_no_samples(desk: Desk, venue: Venue) -> None:
    async with running_worker(venue, shards_max=16):
        await eventually(lambda: desk.value("SELECT count(*) FROM market.equity"))
        before = await desk.value("SELECT count(*) FROM market.equity")
        async with running_worker(venue, name="second") as second:
            await eventually(lambda: second.service.health()[1]["status"] == "standby")
        assert await desk.value("SELECT count(*) FROM market.equity") == before
