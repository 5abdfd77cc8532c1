"""What the worker's figures tell an operator."""

from worker_world import Desk, Venue, desk, eventually, first, running_worker, venue

__all__ = ["desk", "venue"]


async def test_a_broken_audit_chain_is_told(desk: Desk, venue: Venue) -> None:
    superuser = await desk.database.connect("postgres")
    await superuser.execute(
        "ALTER TABLE audit.audit_log DISABLE TRIGGER audit_log_append_only;"
        "UPDATE audit.audit_log SET actor = 'nobody' WHERE stream_id = 0 AND seq = 1;"
        "ALTER TABLE audit.audit_log ENABLE ALWAYS TRIGGER audit_log_append_only"
    )
    async with running_worker(venue) as worker:
        await eventually(lambda: worker.metric("audit_broken_streams") == 1)


async def test_the_age_of_the_outbox_is_measured(desk: Desk) -> None:
    venue = Venue(desk)
    await venue.heartbeat("1002")
    await desk.place(first(desk))
    async with running_worker(venue) as worker:
        await eventually(lambda: worker.metric("outbox_pending") == 1)
        assert worker.metric("outbox_oldest_seconds") > 0


async def test_a_figure_that_executions_do_not_make_is_told(desk: Desk, venue: Venue) -> None:
    superuser = await desk.database.connect("postgres")
    await superuser.execute("UPDATE app.cash_balances SET amount = amount + 1")
    accounts = await superuser.fetchval("SELECT count(*) FROM app.cash_balances")
    async with running_worker(venue) as worker:
        await eventually(lambda: worker.metric("integrity_breaks") == accounts)
    assert await superuser.fetchval("SELECT count(*) FROM app.integrity_breaks") == accounts
