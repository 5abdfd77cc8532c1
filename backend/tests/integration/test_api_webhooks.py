"""What bridges report, and prices: signed, strict, kept once."""

import asyncio
import json
from typing import Any

import pytest
from api_world import MakePerson, Person, World, code, needs_hot_store, now_text
from fixtures_postgres import make_account, make_instrument


def event(sequence: int, **changes: Any) -> dict[str, Any]:
    body = {
        "sequence": sequence,
        "event_id": f"L-1-{sequence}",
        "kind": "order_event",
        "client_order_id": "abc",
        "occurred_at": now_text(),
        "status": "accepted",
        "broker_order_id": "7",
    }
    return {**body, **changes}


def batch(*events: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {
        "version": 1,
        "source": "qc:1001",
        "deploy_id": "L-1",
        "epoch": 1,
        "sent_at": now_text(),
        "events": list(events),
        "quotes": [{"symbol": "AAPL", "price": "20.50", "at": now_text()}],
        "heartbeat": {
            "status": "Running",
            "positions": [{"symbol": "AAPL", "quantity": "-5", "average_price": "20.1"}],
            "cash": [{"currency": "USD", "amount": "-0.25"}],
            "last_sequence": len(events),
        },
    }
    return {**body, **changes}


@pytest.fixture
async def bridged(world: World) -> World:
    """A world with an account that the bridge qc:1001 reports for."""
    await make_instrument(world.migrate, "AAPL")
    await make_account(world.migrate, broker_account="1001")
    return world


async def test_events_are_kept_once_and_the_sequence_is_answered(bridged: World) -> None:
    for _ in range(2):
        answer = await bridged.report(batch(event(1), event(2)))
        assert (answer.status_code, answer.json()) == (200, {"acknowledged": 2})
    assert len(await bridged.rows("SELECT 1 FROM app.inbox")) == 2


async def test_a_gap_is_not_acknowledged(bridged: World) -> None:
    assert (await bridged.report(batch(event(1), event(3)))).json() == {"acknowledged": 1}
    assert (await bridged.report(batch(event(2)))).json() == {"acknowledged": 3}


async def test_events_arrive_in_the_database_as_they_were_sent(bridged: World) -> None:
    sent = event(1, fill_quantity="1.50", fill_price="20.100", fee=None)
    await bridged.report(batch(sent))
    [row] = await bridged.rows("SELECT payload FROM app.inbox")
    assert json.loads(row["payload"]) == sent


async def test_an_event_that_nobody_understands_holds_nothing_up(bridged: World) -> None:
    odd = event(1, kind="surprise", client_order_id=7, fill_price="NaN")
    assert (await bridged.report(batch(odd, event(2)))).json() == {"acknowledged": 2}


async def test_a_price_that_cannot_be_used_is_left_out(bridged: World) -> None:
    quotes = [
        {"symbol": "AAPL", "price": "0", "at": now_text()},
        {"symbol": "AAPL", "price": "20.75", "at": now_text()},
        {"symbol": "aapl\n", "price": "-1"},
    ]
    assert (await bridged.report(batch(event(1), quotes=quotes))).json() == {"acknowledged": 1}
    [row] = await bridged.rows("SELECT price::text FROM market.last_prices")
    assert row["price"] == "20.75"


async def test_a_report_without_a_heartbeat_keeps_the_last_one(bridged: World) -> None:
    await bridged.report(batch())
    await bridged.report(batch(event(1), heartbeat=None))
    [row] = await bridged.rows("SELECT heartbeat ->> 'status' AS status FROM app.bridges")
    assert row["status"] == "Running"


async def test_a_heartbeat_alone_is_a_report(bridged: World) -> None:
    answer = await bridged.report(batch(quotes=[]))
    assert answer.json() == {"acknowledged": 0}
    [row] = await bridged.rows("SELECT heartbeat FROM app.bridges")
    assert json.loads(row["heartbeat"])["positions"][0]["quantity"] == "-5"


@pytest.mark.parametrize("quotes", [[], [{"symbol": "AAPL", "price": "20.50", "at": now_text()}]])
async def test_events_alone_wake_who_applies_them(
    bridged: World, quotes: list[dict[str, str]]
) -> None:
    listener = await bridged.database.connect("app_worker")
    told: asyncio.Queue[str] = asyncio.Queue()
    for channel in ("outbox_poke", "inbox_poke"):
        await listener.add_listener(
            channel, lambda _connection, _pid, name, _: told.put_nowait(name)
        )
    assert (await bridged.report(batch(quotes=quotes))).status_code == 200
    assert (await bridged.report(batch(event(1), quotes=quotes))).json() == {"acknowledged": 1}
    # All pokes go one after the other, so this one shows that none is still on its way.
    bridged.app.state.database.notify_poke("outbox_poke")
    heard: list[str] = []
    async with asyncio.timeout(5):
        while "outbox_poke" not in heard:
            heard.append(await told.get())
    assert heard == ["inbox_poke", "outbox_poke"], "a heartbeat alone is nothing to apply"


async def test_prices_move_the_marks(bridged: World) -> None:
    await bridged.report(batch())
    [row] = await bridged.rows("SELECT price::text, source FROM market.last_prices")
    assert (row["price"], row["source"]) == ("20.5", "quantconnect")


async def test_a_wrong_signature_is_401_and_keeps_nothing(bridged: World) -> None:
    body = json.dumps(batch(event(1))).encode()
    for signature in ("", "0" * 64, "ä", "é" * 32, "0" * 10_000):
        answer = await bridged.report(body, signature=signature)
        assert (answer.status_code, code(answer)) == (401, "signature_invalid")
    assert not await bridged.rows("SELECT 1 FROM app.inbox")


async def test_the_signature_covers_every_byte(bridged: World) -> None:
    good = json.dumps(batch(event(1)))
    signature = bridged.signature(good.encode()).upper()
    changed = await bridged.report(
        good.replace("accepted", "canceled").encode(), signature=signature
    )
    same = await bridged.report(good.encode(), signature=signature)
    assert (changed.status_code, same.status_code) == (401, 200)


async def test_the_header_names_the_source_of_the_body(bridged: World) -> None:
    answer = await bridged.report(batch(), source="qc:1002")
    assert (answer.status_code, code(answer)) == (401, "signature_invalid")


async def test_an_unknown_source_is_404(bridged: World) -> None:
    answer = await bridged.report(batch(source="qc:9"), source="qc:9")
    assert (answer.status_code, code(answer)) == (404, "source_unknown")


async def test_an_older_deployment_is_409(bridged: World) -> None:
    await bridged.report(batch(epoch=2, deploy_id="L-2"))
    answer = await bridged.report(batch(epoch=1))
    assert (answer.status_code, code(answer)) == (409, "epoch_stale")


async def test_a_signed_but_malformed_report_is_refused(bridged: World) -> None:
    reports = [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (json.dumps(batch(event(1, reason="a\x00b"))).encode(), 422),
        (json.dumps(batch(event(1, fill_price=float("nan")))).encode(), 422),
        (json.dumps(batch(events=["text"])).encode(), 422),
        (json.dumps(batch(heartbeat=[])).encode(), 422),
        (json.dumps(batch(surprise=1)).encode(), 422),
        (json.dumps(batch(sent_at="yesterday")).encode(), 422),
        (json.dumps(batch(version=2)).encode(), 422),
        (json.dumps(batch(epoch=-1)).encode(), 422),
        (json.dumps(batch(epoch=2**70)).encode(), 422),
        (json.dumps(batch(epoch=1.5)).encode(), 422),
        (json.dumps(batch()).replace('"epoch": 1', '"epoch": 1, "epoch": 2').encode(), 422),
        (b" " * 70_000, 413),
    ]
    for body, status in reports:
        answer = await bridged.report(body)
        assert answer.status_code == status, (body[:300], answer.text)
        code(answer)
    assert not await bridged.rows("SELECT 1 FROM app.inbox")


async def test_prices_are_recorded_by_an_administrator_or_the_worker(
    world: World, make_person: MakePerson
) -> None:
    await make_instrument(world.migrate, "AAPL")
    quotes = [{"symbol": name, "price": "21", "at": now_text()} for name in ("AAPL", "NONE")]
    body, path = {"quotes": quotes}, "/api/data/quotes?source=replay"
    trader, admin = await make_person("trader"), await make_person("admin")
    refused = await trader.client.post(path, json=body)
    assert (refused.status_code, code(refused)) == (403, "role_not_allowed")
    bearer = {"Authorization": f"Bearer {world.secret('worker_token')}"}
    for client, headers, new in ((admin.client, {}, 1), (world.client(), bearer, 0)):
        answer = await client.post(path, json=body, headers=headers)
        assert answer.json() == {
            "received": 2,
            "inserted": new,
            "unchanged": 1 - new,
            "replaced": 0,
            "unknown_symbols": ["NONE"],
            "marks": new,
        }
    [row] = await world.rows("SELECT price FROM market.last_prices")
    assert row["price"] == 21


@needs_hot_store
async def test_reported_prices_are_read_from_the_hot_store(bridged: World, trader: Person) -> None:
    await bridged.report(batch())
    answer = await trader.client.get("/api/lmdb/quotes/AAPL")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["price"], answer.json()["source"]) == ("20.5", "quantconnect")
