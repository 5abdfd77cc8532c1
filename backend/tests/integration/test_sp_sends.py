"""Two commits around a send: begun before the wire is touched, finished after, fenced twice."""

import asyncio
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
from fixtures_postgres import set_price
from sp_world import VALID, World, begun, desk, refused

__all__ = ["desk"]


async def _row(desk: World) -> asyncpg.Record:
    (row,) = await desk.outbox()
    return row


async def _parked_s(desk: World) -> float:
    query = """SELECT extract(EPOCH FROM next_attempt_at - clock_timestamp())::float
        FROM app.outbox_parked"""
    return float(await desk.root.fetchval(query))


async def test_begin_marks_the_head_of_each_account_and_finish_archives_it(desk: World) -> None:
    epochs = await desk.acquire()
    orders = [
        await desk.place(account_id=account) for account in (desk.account, desk.account, desk.other)
    ]
    sends = await desk.begin()
    assert [send["order_id"] for send in sends] == [orders[0]["order_id"], orders[2]["order_id"]]
    send = sends[0]
    assert (send["action"], send["kind"], send["attempts"]) == ("place", "order.place.v1", 1)
    assert (send["symbol"], send["side"], send["quantity"]) == ("AAPL", "buy", Decimal(10))
    assert (send["limit_price"], send["route"]) == (Decimal("100.00"), "quantconnect")
    assert send["epoch"] == epochs[send["shard"]]
    order = await desk.order(orders[0]["order_id"])
    assert (order["status"], order["valid_until"]) == ("submitting", send["valid_until"])
    assert await desk.begin() == [], "both lanes are in flight"

    assert await desk.finish(send, "accepted", broker_order_id="B-7") == 1
    assert await desk.finish(send, "accepted") == 0, "a result counts once"
    order = await desk.order(orders[0]["order_id"])
    assert (order["status"], order["broker_order_id"]) == ("submitted", "B-7")
    assert [send["order_id"] for send in await desk.begin()] == [orders[1]["order_id"]]
    await desk.assert_whole()


async def test_a_send_that_was_interrupted_is_asked_after_and_never_sent_blind(
    desk: World,
) -> None:
    await desk.acquire()
    order = await desk.place()
    (send,) = await desk.begin()
    valid_until = (await desk.order(order["order_id"]))["valid_until"]
    await desk.interrupt()
    (query,) = await desk.begin()
    assert (query["action"], query["event_id"], query["attempts"]) == ("query", send["event_id"], 2)
    assert await desk.status(order["order_id"]) == "submit_unknown"
    assert (await desk.order(order["order_id"]))["valid_until"] == valid_until
    await desk.finish(query, "accepted")
    assert (await _row(desk))["last_outcome"] == "unknown"
    assert await desk.begin() == [], "the lane waits for the answer"
    await desk.unpark()
    assert [send["action"] for send in await desk.begin()] == ["query"]


async def test_a_send_begun_by_an_earlier_epoch_is_asked_after_at_once(desk: World) -> None:
    await desk.acquire()
    await desk.place()
    await desk.begin()
    await desk.root.execute("UPDATE app.outbox_shards SET lease_until = now()")
    await desk.acquire()
    assert [send["action"] for send in await desk.begin()] == ["query"]


async def test_a_question_that_does_not_get_through_leaves_the_place_unknown(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    await desk.send("unknown")
    assert await desk.status(order["order_id"]) == "submit_unknown"
    for outcome in ("not_sent", "throttled", "auth", "unknown", "definite_reject", "accepted"):
        await desk.unpark()
        query = await desk.send(outcome)
        assert query["action"] == "query", outcome
        assert (await _row(desk))["last_outcome"] == "unknown"
    assert await desk.status(order["order_id"]) == "submit_unknown"


async def test_what_was_not_sent_is_sent_again_after_a_growing_wait(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    longest = []
    for _ in range(8):
        send = await desk.send("not_sent")
        assert send["action"] == "place"
        longest.append(await _parked_s(desk))
        await desk.unpark()
    assert await desk.status(order["order_id"]) == "submitting"
    # Full jitter: anything up to a ceiling that doubles.
    assert all(0 < waited <= min(0.5 * 2**n, 60) for n, waited in enumerate(longest)), longest
    assert max(longest) > 2, longest
    await desk.send("accepted")
    assert await desk.root.fetchval("SELECT count(*) FROM app.outbox_parked") == 0


async def test_an_unknown_outcome_follows_its_schedule_and_a_throttled_one_the_routes_wish(
    desk: World,
) -> None:
    await desk.acquire()
    await desk.place()
    for seconds in (1, 2, 5, 10, 30, 30):
        await desk.send("unknown")
        assert seconds - 0.5 < await _parked_s(desk) <= seconds
        await desk.unpark()
    (send,) = await desk.begin()
    await desk.finish(send, "throttled", retry_after_s=42)
    assert 41 < await _parked_s(desk) <= 42


async def test_a_definite_reject_ends_the_order(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    (send,) = await desk.begin()
    await desk.finish(send, "definite_reject", reason="UNKNOWN_PROJECT")
    row = await desk.order(order["order_id"])
    assert (row["status"], row["reason_code"]) == ("rejected", "UNKNOWN_PROJECT")
    assert await desk.outbox() == []


async def test_a_refused_cancel_puts_the_order_back_where_it_was(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.cancel(order["order_id"])
    await desk.send("definite_reject")
    assert await desk.status(order["order_id"]) == "submitted"
    await desk.venue(order, "accepted")
    await desk.cancel(order["order_id"])
    await desk.send("definite_reject")
    assert await desk.status(order["order_id"]) == "accepted"


async def test_a_cancel_of_unknown_outcome_is_sent_again(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    await desk.cancel(order["order_id"])
    await desk.send("unknown")
    await desk.unpark()
    assert (await desk.send("accepted"))["action"] == "cancel"
    assert await desk.status(order["order_id"]) == "pending_cancel"


async def test_a_worker_that_lost_its_lease_changes_nothing(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    (send,) = await desk.begin()
    thief = await desk.database.connect("app_worker")
    await desk.root.execute("UPDATE app.outbox_shards SET lease_until = now()")
    assert await desk.finish(send, "accepted") == 0, "the lease is over"
    await thief.fetch("SELECT app.sp_acquire_shards('thief', 16, interval '20 s')")
    before = await _row(desk)
    for outcome in ("accepted", "definite_reject", "not_sent", "unknown"):
        assert await desk.finish(send, outcome) == 0
    assert await desk.begin() == []
    assert await desk.worker.fetchval("SELECT app.sp_query_inflight($1, '0')", desk.owner) == 0
    assert await _row(desk) == before
    assert await desk.status(order["order_id"]) == "submitting"
    desk.owner, desk.worker = "thief", thief
    (query,) = await desk.begin()
    assert query["action"] == "query"
    assert await desk.finish(send, "accepted") == 0, "the epoch of the result is over"


async def test_a_result_of_this_owner_from_an_earlier_epoch_does_not_count(desk: World) -> None:
    await desk.acquire()
    await desk.place()
    (send,) = await desk.begin()
    await desk.root.execute("UPDATE app.outbox_shards SET lease_until = now()")
    await desk.acquire()
    assert await desk.finish(send, "accepted") == 0
    (query,) = await desk.begin()
    assert await desk.finish(send, "accepted") == 0
    assert await desk.finish(query, "accepted") == 1


async def test_only_owned_shards_are_begun(desk: World) -> None:
    await desk.place()
    assert await desk.begin() == []
    for shard in await desk.acquire():
        if shard != desk.account % 16:
            await desk.root.execute(
                "UPDATE app.outbox_shards SET owner = 'x' WHERE shard = $1", shard
            )
    await desk.place(account_id=desk.other)
    assert [send["account_id"] for send in await desk.begin()] == [desk.account]


async def test_a_cancel_overtakes_the_orders_of_its_account(desk: World) -> None:
    await desk.acquire()
    first = await desk.submit()
    for _ in range(3):
        await desk.place()
    await desk.cancel(first["order_id"])
    assert [send["action"] for send in await desk.begin()] == ["cancel"]


async def test_a_halt_cancels_everything_that_waits_in_one_pass(desk: World) -> None:
    await desk.acquire()
    orders = [await desk.place() for _ in range(5)]
    await desk.set_state("account", desk.account, "halted")
    untouched = await desk.place(account_id=desk.other)
    assert [send["order_id"] for send in await desk.begin()] == [untouched["order_id"]]
    for order in orders:
        row = await desk.order(order["order_id"])
        assert (row["status"], row["reason_code"]) == ("canceled", "TRADING_HALTED")
    assert len(await desk.outbox()) == 1
    await desk.assert_whole()


async def test_a_price_that_ran_away_stops_the_order_before_the_wire(desk: World) -> None:
    await desk.acquire()
    order = await desk.place()
    await set_price(desk.migrate, "AAPL", "112")
    assert await desk.begin() == []
    row = await desk.order(order["order_id"])
    assert (row["status"], row["reason_code"]) == ("canceled", "PRICE_OUTSIDE_COLLAR")


async def test_without_a_fresh_price_the_order_waits_and_can_be_canceled_here(desk: World) -> None:
    await desk.acquire()
    first, second = await desk.place(), await desk.place(account_id=desk.other)
    await desk.root.execute("UPDATE market.last_prices SET received_at = now() - interval '1 h'")
    assert await desk.begin() == []
    assert await desk.status(first["order_id"]) == "new"
    assert (await desk.cancel(first["order_id"]))["status"] == "canceled"
    await set_price(desk.migrate, "AAPL", "100")
    await desk.unpark()
    assert [send["order_id"] for send in await desk.begin()] == [second["order_id"]]


async def test_what_waited_too_long_is_rejected_unless_it_may_have_left(desk: World) -> None:
    await desk.acquire()
    waiting = await desk.place()
    unknown = await desk.place(account_id=desk.other)
    sends = {send["order_id"]: send for send in await desk.begin()}
    await desk.finish(sends[waiting["order_id"]], "not_sent")
    await desk.finish(sends[unknown["order_id"]], "unknown")
    await desk.unpark()
    await desk.root.execute("UPDATE app.orders SET created_at = now() - interval '121 s'")
    fresh = await desk.place()
    begun = {send["order_id"]: send["action"] for send in await desk.begin()}
    assert begun == {unknown["order_id"]: "query", fresh["order_id"]: "place"}
    row = await desk.order(waiting["order_id"])
    assert (row["status"], row["reason_code"]) == ("rejected", "EXPIRED_BEFORE_SEND")


async def test_two_workers_that_begin_at_once_never_begin_the_same_row(desk: World) -> None:
    await desk.acquire()
    for account in (desk.account, desk.other):
        await desk.place(account_id=account)
    again = await desk.database.connect("app_worker")
    query = "SELECT * FROM app.sp_begin_sends($1, 100, $2)"
    first, second = await asyncio.gather(
        desk.worker.fetch(query, desk.owner, VALID), again.fetch(query, desk.owner, VALID)
    )
    assert len(first) + len(second) == 2


async def test_placing_and_sending_at_once_neither_deadlock_nor_lose(desk: World) -> None:
    await desk.acquire()
    sent: list[int] = []

    async def send_all() -> None:
        while len(sent) < 60:
            for send in await desk.begin():
                assert await desk.finish(send, "accepted") == 1
                sent.append(send["order_id"])
            await asyncio.sleep(0)

    async def place_thirty(first: int, second: int) -> list[int]:
        connection = await desk.database.connect("app_write")
        orders = []
        for number in range(30):
            request = desk.request(account_id=(first, second)[number % 2]).arguments()
            orders.append(
                await connection.fetchval(
                    """SELECT (app.sp_place_order(
                        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)).order_id""",
                    *request,
                )
            )
        return orders

    async with asyncio.timeout(30):
        *placed, _ = await asyncio.gather(
            place_thirty(desk.account, desk.other),
            place_thirty(desk.other, desk.account),
            send_all(),
        )
    assert sorted(sent) == sorted(placed[0] + placed[1])
    for account in (desk.account, desk.other):
        query = "SELECT array_agg(order_id ORDER BY order_id) FROM app.orders WHERE account_id = $1"
        mine = await desk.root.fetchval(query, account)
        assert [order for order in sent if order in set(mine)] == mine, "in the order of placing"
    await desk.assert_whole()


async def test_bad_arguments_are_refused(desk: World) -> None:
    for owner, limit, valid, code in (
        (None, 1, 10, "owner_invalid"),
        ("w", None, 10, "limit_invalid"),
        ("w", 0, 10, "limit_invalid"),
        ("w", 1001, 10, "limit_invalid"),
        ("w", 1, 0, "valid_invalid"),
    ):
        with refused("IN422", code):
            await desk.worker.fetch(
                "SELECT app.sp_begin_sends($1, $2, $3)", owner, limit, timedelta(seconds=valid)
            )
    good = {"event_id": 1, "epoch": 1, "attempts": 1, "outcome": "accepted"}
    malformed: list[Any] = [
        None,
        {},
        [1],
        [{**good, "outcome": "maybe"}],
        [{**good, "event_id": "x"}],
        [{"event_id": 1, "attempts": 1, "outcome": "accepted"}],
        [{"event_id": 1, "epoch": 1, "outcome": "accepted"}],
        [{**good, "attempts": "x"}],
        [{**good, "retry_after_s": "soon"}],
    ]
    for results in malformed:
        with refused("IN422", "results_invalid"):
            await desk.worker.fetch(
                "SELECT app.sp_finish_sends('w', $1::jsonb)", json.dumps(results)
            )
    query = "SELECT app.sp_finish_sends('w', $1::jsonb)"
    assert await desk.worker.fetchval(query, json.dumps([good])) == 0
    with refused("25001"):
        async with desk.worker.transaction(isolation="repeatable_read"):
            await desk.begin()


async def test_the_age_of_what_is_owed_is_told(desk: World) -> None:
    query = "SELECT * FROM app.sp_outbox_age()"
    assert tuple(await desk.worker.fetchrow(query)) == (0, 0, 0, 0, 0)
    await desk.acquire()
    await desk.place()
    await desk.root.execute("UPDATE app.events_outbox SET created_at = now() - interval '1 min'")
    await desk.send("unknown")
    pending, oldest_s, parked, dead, lost = await desk.worker.fetchrow(query)
    assert (pending, parked, dead, lost) == (1, 1, 0, 0)
    assert 60 <= oldest_s < 90


async def test_a_batch_of_100_is_begun_and_finished_in_one_call_each(desk: World) -> None:
    await desk.acquire()
    await desk.root.execute(
        """
        WITH made AS (
            INSERT INTO app.accounts (name, route, broker_account)
            SELECT 'batch ' || n, 'quantconnect', 'batch-' || n FROM generate_series(1, 120) AS n
            RETURNING account_id
        ), streams AS (
            INSERT INTO app.streams (stream_id) SELECT account_id FROM made
        ), limits AS (
            INSERT INTO app.risk_limits SELECT account_id, 1000, 50000, 0.1 FROM made
        ), cash AS (
            INSERT INTO app.cash_balances SELECT account_id, 'USD', 100000 FROM made
        )
        INSERT INTO app.account_members
        SELECT made.account_id, users.user_id, TRUE FROM made, app.users
        """
    )
    accounts = "SELECT account_id FROM app.accounts WHERE name LIKE 'batch %'"
    for row in await desk.root.fetch(accounts):
        await desk.place(account_id=row["account_id"])
    sends = await desk.begin(limit=100)
    assert len(sends) == 100
    results = [{**begun(send), "outcome": "accepted"} for send in sends]
    query = "SELECT app.sp_finish_sends($1, $2::jsonb)"
    assert await desk.worker.fetchval(query, desk.owner, json.dumps(results)) == 100
    assert len(await desk.begin(limit=100)) == 20
    await desk.assert_whole()
