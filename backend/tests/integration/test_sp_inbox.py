"""What a bridge reports is kept once, acknowledged without gaps, believed of its account alone."""

import asyncio
import json
from typing import Any

import asyncpg
from sp_world import APPLY, World, desk, refused, stamp

__all__ = ["desk"]


def _events(*sequences: int) -> list[dict[str, Any]]:
    return [
        {"sequence": n, "event_id": f"e-{n}", "kind": "order_event", "client_order_id": "nobody"}
        for n in sequences
    ]


async def test_the_highest_sequence_without_a_gap_is_acknowledged(desk: World) -> None:
    assert await desk.put([]) == 0
    assert await desk.put(_events(2, 1)) == 2
    assert await desk.put(_events(4, 5)) == 2
    assert await desk.put(_events(1, 2, 4)) == 2
    assert await desk.put(_events(3, 3)) == 5
    rows = await desk.root.fetch("SELECT event_id FROM app.inbox ORDER BY inbox_id")
    assert [row["event_id"] for row in rows] == ["e-1", "e-2", "e-4", "e-5", "e-3"]


async def test_a_new_epoch_may_count_on_or_from_1_again(desk: World) -> None:
    assert await desk.put(_events(1, 2, 3), epoch=1) == 3
    assert await desk.put(_events(3, 4), epoch=2) == 4, "it counts on"
    with refused("IN409", "epoch_stale"):
        await desk.put(_events(5), epoch=1)
    again = [{**event, "event_id": f"again-{event['sequence']}"} for event in _events(1, 2)]
    assert await desk.put(again, epoch=3) == 2
    query = "SELECT app.sp_inbox_put($1, 'L-4', 4, '[]', '{\"last_sequence\": 0}')"
    assert await desk.api.fetchval(query, await desk.source(desk.account)) == 0
    audited = await desk.root.fetch(
        "SELECT detail ->> 'epoch' AS epoch FROM audit.audit_log WHERE action = 'bridge.seen'"
    )
    assert [row["epoch"] for row in audited] == ["1", "2", "3", "4"]
    await desk.assert_whole()


async def test_bridges_are_listed_with_their_heartbeat(desk: World) -> None:
    source = await desk.source(desk.account)
    query = "SELECT app.sp_inbox_put($1, 'L-1', 7, $2::jsonb, '{\"status\": \"Running\"}')"
    await desk.api.execute(query, source, json.dumps(_events(1)))
    (bridge,) = await desk.worker.fetch("SELECT * FROM app.sp_bridges()")
    assert tuple(bridge)[:4] == (source, "L-1", 7, 1)
    await desk.api.execute("SELECT app.sp_inbox_put($1, 'L-1', 7, '[]', NULL)", source)
    kept = await desk.root.fetchval("SELECT heartbeat ->> 'status' FROM app.bridges")
    assert kept == "Running", "a batch without one keeps the last"


async def test_an_event_that_cannot_be_understood_is_kept_and_blocks_nothing(desk: World) -> None:
    odd: list[Any] = [5, None, "x", [], {}, {"event_id": ""}, {"event_id": "x" * 300}]
    odd += [{"event_id": "s", "sequence": "one"}, {"event_id": "t", "sequence": -1}]
    assert await desk.put([*odd, *_events(1)]) == 1
    assert await desk.put([*odd, *_events(2)]) == 2
    assert await desk.apply_pending() == ["unmatched"] * (len(odd) + 2)
    assert await desk.root.fetchval("SELECT count(*) FROM app.inbox") == len(odd) + 2


async def test_unknown_sources_and_bad_batches_are_refused(desk: World) -> None:
    source = await desk.source(desk.account)
    for name in ("qc:0", "qc:", "x", source.removeprefix("qc:"), f"ib:{source[3:]}", "qc:%"):
        with refused("IN404", "source_unknown"):
            await desk.api.fetchval("SELECT app.sp_inbox_put($1, 'L', 1, '[]', NULL)", name)
    query = "SELECT app.sp_inbox_put($1, $2, $3, $4::jsonb, $5::jsonb)"
    for arguments, code in (
        ((None, "L", 1, "[]", None), "source_invalid"),
        ((source, None, 1, "[]", None), "deploy_id_invalid"),
        ((source, "L", None, "[]", None), "epoch_invalid"),
        ((source, "L", -1, "[]", None), "epoch_invalid"),
        ((source, "L", 1, None, None), "events_invalid"),
        ((source, "L", 1, "{}", None), "events_invalid"),
        ((source, "L", 1, json.dumps([1] * 1001), None), "events_invalid"),
        ((source, "L", 1, "[]", "[]"), "heartbeat_invalid"),
    ):
        with refused("IN422", code):
            await desk.api.fetchval(query, *arguments)


async def test_batches_that_arrive_at_once_are_kept_once(desk: World) -> None:
    source = await desk.source(desk.account)
    connections = [await desk.database.connect("app_write") for _ in range(8)]
    query = "SELECT app.sp_inbox_put($1, 'L-1', 1, $2::jsonb, '{}'::jsonb)"
    batches = [json.dumps(_events(*range(first, 41))) for first in (1, 5, 9, 1, 20, 3, 1, 30)]
    answers = await asyncio.gather(
        *(
            connection.fetchval(query, source, batch)
            for connection, batch in zip(connections, batches, strict=True)
        )
    )
    assert max(answers) == 40
    assert await desk.root.fetchval("SELECT count(*) FROM app.inbox") == 40
    assert await desk.put([]) == 40


async def test_pending_events_are_given_to_the_owner_of_their_shard_in_order(desk: World) -> None:
    order = await desk.place()
    mine = desk.event(order, "order_event", status="accepted")
    await desk.put([mine, *_events(100)])
    query = "SELECT * FROM app.sp_inbox_pending($1, 10)"
    assert await desk.worker.fetch(query, desk.owner) == []
    await desk.acquire()
    both = [row["inbox_id"] for row in await desk.worker.fetch(query, desk.owner)]
    assert both == sorted(both)
    assert len(both) == 2
    await desk.root.execute("UPDATE app.outbox_shards SET owner = NULL WHERE shard = 0")
    assert len(await desk.worker.fetch(query, desk.owner)) == 1
    await desk.root.execute("UPDATE app.outbox_shards SET lease_until = now()")
    assert await desk.worker.fetch(query, desk.owner) == []
    with refused("IN422", "limit_invalid"):
        await desk.worker.fetch("SELECT app.sp_inbox_pending('w', 0)")


async def test_a_bridge_is_not_believed_about_another_account(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    forged = desk.event(
        order, "order_event", status="filled", fill_quantity="10", fill_price="1", exec_id="x"
    )
    await desk.put([forged], account=desk.other)
    assert await desk.apply_pending() == ["unmatched"]
    assert await desk.status(order["order_id"]) == "submitted"
    audit = await desk.root.fetchrow(
        "SELECT stream_id, detail FROM audit.audit_log WHERE action = 'broker.unmatched'"
    )
    assert audit["stream_id"] == desk.other
    assert json.loads(audit["detail"])["event"]["exec_id"] == "x"


async def test_an_event_is_applied_once_however_many_apply_it(desk: World) -> None:
    await desk.acquire()
    order = await desk.submit()
    event = desk.event(
        order, "order_event", status="filled", fill_quantity="10", fill_price="99", exec_id="x"
    )
    await desk.put([event])
    inbox_id = await desk.root.fetchval("SELECT inbox_id FROM app.inbox")
    connections = [await desk.database.connect("app_worker") for _ in range(6)]

    async def apply(connection: asyncpg.Connection) -> str:
        # Who waits too long for the account leaves the event where it is, and comes again.
        while (outcome := await connection.fetchval(APPLY, inbox_id)) is None:
            pass
        return str(outcome)

    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*map(apply, connections))
    assert outcomes == ["applied"] * 6
    assert await desk.root.fetchval("SELECT count(*) FROM app.executions") == 1
    assert await desk.put([{**event, "occurred_at": stamp()}]) == event["sequence"]
    assert await desk.apply_pending() == []
    with refused("IN404", "event_not_found"):
        await desk.apply(999_999)
    await desk.assert_whole()
