"""What the worker makes of the venue's answers and reports, and of those that do not come."""

import asyncio

from worker_world import Desk, Venue, desk, eventually, first, running_worker, venue

from app.services.broker import Outcome, OutcomeKind

__all__ = ["desk", "venue"]


async def test_a_definite_reject_ends_the_order(desk: Desk, venue: Venue) -> None:
    async def script(_action: str, _client_order_id: str) -> Outcome:
        return Outcome(kind=OutcomeKind.DEFINITE_REJECT, reason="NO_SUCH_PROJECT")

    venue.script = script
    order = await desk.place(first(desk))
    async with running_worker(venue):
        await eventually(lambda: desk.is_status(order, "rejected"))
        await eventually(desk.outbox_is_empty)
    assert len(venue.sent("place")) == 1


async def test_a_lost_answer_is_asked_about_and_never_sent_again(desk: Desk, venue: Venue) -> None:
    async def script(action: str, client_order_id: str) -> Outcome | None:
        if action == "place":
            venue.orders[client_order_id] = "accepted"
            await asyncio.Event().wait()
        return None

    venue.script = script
    order = await desk.place(first(desk))
    async with running_worker(venue, send_timeout_s=0.2) as worker:
        await eventually(lambda: desk.is_status(order, "accepted"))
        await eventually(desk.outbox_is_empty)
        assert worker.metric("sends_total", action="place", outcome="unknown") == 1
    assert [c.action for c in venue.commands[:2]] == ["place", "query"]
    assert len(venue.sent("place")) == 1


async def test_an_order_proved_absent_is_sent_again(desk: Desk, venue: Venue) -> None:
    swallowed = False

    async def script(action: str, _client_order_id: str) -> Outcome | None:
        nonlocal swallowed
        if action == "place" and not swallowed:
            swallowed = True
            return Outcome(kind=OutcomeKind.UNKNOWN, reason="connection_reset")
        return None

    venue.script = script
    order = await desk.place(first(desk))
    async with running_worker(venue, send_timeout_s=0.5, send_valid_s=0.5):
        await eventually(lambda: len(venue.sent("place", order)) == 2)
        await eventually(desk.outbox_is_empty)
    actions = [command.action for command in venue.commands]
    assert actions[0] == "place"
    assert "query" in actions[1 : actions.index("place", 1)]


async def test_an_adapter_that_raises_leaves_the_outcome_unknown(desk: Desk, venue: Venue) -> None:
    async def script(action: str, client_order_id: str) -> Outcome | None:
        if action == "place":
            venue.orders[client_order_id] = "accepted"
            raise ValueError("a bug after the bytes went out")
        return None

    venue.script = script
    order = await desk.place(first(desk))
    async with running_worker(venue):
        await eventually(lambda: desk.is_status(order, "accepted"))
    assert len(venue.sent("place")) == 1


async def working(desk: Desk) -> str:
    order = await desk.place(first(desk))
    await eventually(lambda: desk.is_status(order, "accepted"))
    return order


async def test_a_replace_is_sent_once_and_its_report_takes_the_values_over(
    desk: Desk, venue: Venue
) -> None:
    async with running_worker(venue, query_after_s=0.1):
        order = await working(desk)
        assert await desk.replace(order, quantity=4) == "pending_replace"
        await eventually(lambda: venue.sent("replace", order))
        (command,) = venue.sent("replace", order)
        await venue.report(command, {"kind": "order_event", "status": "replaced", "quantity": "4"})
        await eventually(lambda: desk.is_status(order, "accepted"))
        await eventually(desk.outbox_is_empty)
    assert len(venue.sent("replace")) == 1
    quantity = "SELECT quantity FROM app.orders WHERE client_order_id = $1"
    assert await desk.value(quantity, order) == 4


async def test_a_replace_that_the_venue_refuses_leaves_the_order_working(
    desk: Desk, venue: Venue
) -> None:
    async def script(action: str, _client_order_id: str) -> Outcome | None:
        refused = Outcome(kind=OutcomeKind.DEFINITE_REJECT, reason="REPLACE_NOT_SUPPORTED: no")
        return refused if action == "replace" else None

    venue.script = script
    async with running_worker(venue, query_after_s=0.1):
        order = await working(desk)
        await desk.replace(order, quantity=4)
        await eventually(lambda: desk.is_status(order, "accepted"))
        await eventually(desk.outbox_is_empty)
    quantity = "SELECT quantity FROM app.orders WHERE client_order_id = $1"
    assert await desk.value(quantity, order) == 10


async def test_a_replace_without_an_answer_is_asked_about_and_never_sent_again(
    desk: Desk, venue: Venue
) -> None:
    async def script(action: str, _client_order_id: str) -> Outcome | None:
        if action == "replace":
            await asyncio.Event().wait()
        return None

    venue.script = script
    async with running_worker(venue, query_after_s=0.1, send_timeout_s=0.2, send_valid_s=0.5):
        order = await working(desk)
        asked = len(venue.sent("query", order))
        await desk.replace(order, quantity=4)
        await eventually(lambda: len(venue.sent("query", order)) > asked)
        (command,) = venue.sent("replace", order)
        state = {"kind": "order_state", "known": True, "status": "accepted", "quantity": "4"}
        await venue.report(command, {**state, "executions": []})
        await eventually(lambda: desk.is_status(order, "accepted"))
        await eventually(desk.outbox_is_empty)
    assert len(venue.sent("replace")) == 1
    quantity = "SELECT quantity FROM app.orders WHERE client_order_id = $1"
    assert await desk.value(quantity, order) == 4


async def test_an_order_whose_report_does_not_come_is_asked_about(desk: Desk, venue: Venue) -> None:
    order = await desk.place(first(desk))
    async with running_worker(venue, query_after_s=0.1):
        await eventually(lambda: venue.sent("query", order))
        await eventually(lambda: desk.is_status(order, "accepted"))


async def test_a_cancel_goes_out_after_its_order_and_comes_back(desk: Desk, venue: Venue) -> None:
    order = await desk.place(first(desk))
    async with running_worker(venue):
        await eventually(lambda: desk.is_status(order, "submitted"))
        assert await desk.cancel(order) == "pending_cancel"
        await eventually(lambda: desk.is_status(order, "canceled"))
    assert [c.action for c in venue.commands if c.action != "query"] == ["place", "cancel"]


async def test_events_that_cannot_be_applied_do_not_stop_their_lane(
    desk: Desk, venue: Venue
) -> None:
    # As an error of ours in a procedure would: more of them than one reading of the inbox takes.
    superuser = await desk.database.connect("postgres")
    await superuser.execute(
        "CREATE FUNCTION public.choke() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'poison'; END $$;"
        "CREATE TRIGGER choke BEFORE UPDATE ON app.inbox FOR EACH ROW"
        " WHEN (new.event_id LIKE 'poison-%') EXECUTE FUNCTION public.choke()"
    )
    order = await desk.place(first(desk))
    async with running_worker(venue) as worker:
        await eventually(lambda: venue.sent("place", order))
        await superuser.execute(
            "INSERT INTO app.inbox (source, event_id, shard, epoch, payload)"
            " SELECT 'qc:1001', 'poison-' || g, $1, 1, '{}' FROM generate_series(1, 150) AS g",
            first(desk) % 16,
        )
        await venue.report(venue.commands[0], {"kind": "order_event", "status": "accepted"})
        await eventually(lambda: desk.is_status(order, "accepted"))
        await eventually(lambda: worker.metric("inbox_quarantined") == 150)
        await superuser.execute("DROP TRIGGER choke ON app.inbox")
        await eventually(
            lambda: desk.value("SELECT count(*) = 0 FROM app.inbox WHERE applied_at IS NULL")
        )
        await eventually(lambda: worker.metric("inbox_quarantined") == 0)


async def test_a_bridge_is_told_how_far_its_events_are_stored(desk: Desk, venue: Venue) -> None:
    order = await desk.place(first(desk))
    async with running_worker(venue):
        await eventually(lambda: venue.sent("place", order))
        await venue.report(venue.commands[0], {"kind": "order_event", "status": "accepted"})
        await eventually(lambda: ("1001", 1) in venue.acknowledged)
    assert ("1002", 0) not in venue.acknowledged


async def test_what_was_reported_meanwhile_is_applied_in_one_transaction(
    desk: Desk, venue: Venue
) -> None:
    orders = [await desk.place(account) for account in desk.accounts for _ in range(4)]
    blocker = await desk.database.connect("postgres")
    async with running_worker(venue):
        await eventually(desk.outbox_is_empty)
        async with blocker.transaction():
            await blocker.execute("SELECT FROM app.streams FOR UPDATE")
            for command in reversed(venue.sent("place")):
                await venue.report(command, {"kind": "order_event", "status": "accepted"})
        for order in orders:
            await eventually(lambda order=order: desk.is_status(order, "accepted"))
    # The first is there alone; what came while it waited for its account goes together.
    transactions = await desk.value("SELECT count(DISTINCT xmin::text) FROM app.inbox")
    assert 1 <= transactions <= 3, f"{len(orders)} events in {transactions} transactions"


async def test_one_that_fails_takes_no_other_with_it(desk: Desk, venue: Venue) -> None:
    superuser = await desk.database.connect("postgres")
    bad, *good = [await desk.place(account) for account in desk.accounts for _ in range(4)]
    await superuser.execute(
        "CREATE FUNCTION public.choke() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'poison'; END $$;"
        "CREATE TRIGGER choke BEFORE UPDATE ON app.inbox FOR EACH ROW"
        f" WHEN (new.payload ->> 'client_order_id' = '{bad}') EXECUTE FUNCTION public.choke()"
    )
    async with running_worker(venue) as worker:
        await eventually(desk.outbox_is_empty)
        async with superuser.transaction():
            await superuser.execute("SELECT FROM app.streams FOR UPDATE")
            for command in venue.sent("place"):
                await venue.report(command, {"kind": "order_event", "status": "accepted"})
        for order in good:
            await eventually(lambda order=order: desk.is_status(order, "accepted"))
        assert await desk.is_status(bad, "submitted"), "nothing of it counts"
        assert worker.metric("inbox_applied_total", outcome="applied") == len(good)
        assert worker.metric("inbox_quarantined") == 1
        await superuser.execute("DROP TRIGGER choke ON app.inbox")
        await eventually(lambda: desk.is_status(bad, "accepted"))
