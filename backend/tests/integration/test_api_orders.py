"""Orders over HTTP: once, strictly parsed, in the database before the answer."""

import asyncio
import json
from typing import Any

from api_world import FROM_OUR_PAGES, Person, World, code, new_id, order


async def test_a_first_order_answers_201_and_is_in_the_database(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    key = new_id()
    answer = await trader.place(order(account_id), key)
    body = answer.json()
    assert answer.status_code == 201, answer.text
    assert "Idempotent-Replayed" not in answer.headers
    assert set(body) >= {
        "order_id",
        "client_order_id",
        "account_id",
        "status",
        "reason_code",
        "cum_quantity",
        "average_price",
        "replayed",
        "created_at",
        "updated_at",
    }
    assert body["client_order_id"] == key
    assert (body["status"], body["reason_code"], body["replayed"]) == ("new", None, False)
    assert (body["account_id"], body["cum_quantity"]) == (str(account_id), "0")
    assert body["created_at"].endswith("Z")
    [row] = await world.rows("SELECT order_id, quantity FROM app.orders")
    assert (str(row["order_id"]), row["quantity"]) == (body["order_id"], 10)


async def test_a_replay_answers_200_and_the_same_order(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    key = new_id()
    first = (await trader.place(order(account_id), key)).json()
    answer = await trader.place(order(account_id, quantity="10.00"), f'"{key}"')
    assert answer.status_code == 200
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert answer.json() == {**first, "replayed": True}
    assert len(await world.rows("SELECT 1 FROM app.orders")) == 1


async def test_twenty_racing_callers_place_one_order(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    key = new_id()
    answers = await asyncio.gather(*(trader.place(order(account_id), key) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    assert len(await world.rows("SELECT 1 FROM app.events_outbox")) == 1


async def test_the_same_key_with_another_body_is_refused_and_writes_nothing(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    key = new_id()
    await trader.place(order(account_id), key)
    answer = await trader.place(order(account_id, quantity="11"), key)
    assert (answer.status_code, code(answer)) == (422, "idempotency_key_reused")
    [row] = await world.rows("SELECT quantity FROM app.orders")
    assert row["quantity"] == 10


async def test_a_denial_is_an_answer_with_a_reason_and_replays_as_such(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    key = new_id()
    body = order(account_id, quantity="10001", limit_price="1", side="sell")
    for status in (201, 200):
        answer = await trader.place(body, key)
        assert answer.status_code == status
        assert answer.json()["status"] == "denied"
        assert answer.json()["reason_code"] == "ORDER_QUANTITY_EXCEEDS_MAX"
        assert answer.json()["quantity_max"] == "10000"
    assert not await world.rows("SELECT 1 FROM app.events_outbox")


async def test_an_order_is_committed_before_it_is_confirmed(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    observer = await world.database.connect("postgres")
    seen: list[int] = []

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        async def looking(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen.append(await observer.fetchval("SELECT count(*) FROM app.orders"))
            await send(message)

        await world.app(scope, receive, looking)

    trader.client._transport.app = watching  # type: ignore[attr-defined]
    assert (await trader.place(order(account_id))).status_code == 201
    assert seen == [1]


async def test_a_commit_that_fails_is_never_confirmed(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    admin = await world.database.connect("postgres")
    await admin.execute(
        """CREATE FUNCTION app.test_fail() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE 'not today' USING ERRCODE = '53100'; END $$;
           CREATE CONSTRAINT TRIGGER test_fail AFTER INSERT ON app.orders
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.test_fail()"""
    )
    answer = await trader.place(order(account_id))
    assert (answer.status_code, code(answer)) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert not await world.rows("SELECT 1 FROM app.orders")


ODD_KEYS = ["", " ", '"', '"open', 'open"', "ä", "a b", "a" * 37, "x" * 10_000, "a/b", "';--"]


async def test_an_odd_idempotency_key_is_400(world: World, trader: Person) -> None:
    for key in ODD_KEYS:
        headers = {b"Idempotency-Key": key.encode()}
        answer = await trader.client.post("/api/orders", json=order(1), headers=headers)
        assert (answer.status_code, code(answer)) == (400, "idempotency_key_invalid"), key[:20]


async def test_a_missing_idempotency_key_is_400(world: World, trader: Person) -> None:
    answer = await trader.client.post("/api/orders", json=order(1))
    assert (answer.status_code, code(answer)) == (400, "idempotency_key_missing")


async def test_two_idempotency_keys_are_400(world: World, trader: Person) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await trader.client.post("/api/orders", json=order(1), headers=headers)
    assert (answer.status_code, code(answer)) == (400, "idempotency_key_invalid")


def raw(**values: str) -> bytes:
    """Return an order as text in which some values are replaced as they are."""
    body = json.dumps(order(1))
    for name, value in values.items():
        body = body.replace(f'"{name}": {json.dumps(order(1)[name])}', f'"{name}": {value}')
    return body.encode()


HOSTILE_BODIES = [
    (raw(quantity="NaN"), 422),
    (raw(quantity="Infinity"), 422),
    (raw(quantity="-Infinity"), 422),
    (raw(quantity="1e400"), 422),
    (raw(quantity="10"), 422),
    (raw(quantity="123456789012.12345678"), 422),
    (raw(quantity="5e-324"), 422),
    (raw(quantity='"NaN"'), 422),
    (raw(quantity='"١٢"'), 422),
    (raw(quantity='"1_0"'), 422),
    (raw(quantity='" 1 "'), 422),
    (raw(quantity='"1.123456789"'), 422),
    (raw(quantity='"1000000000000"'), 422),
    (raw(quantity='"-1"'), 422),
    (raw(quantity='"0"'), 422),
    (raw(quantity="null"), 422),
    (raw(quantity="[]"), 422),
    (raw(quantity="9" * 5000), 422),
    (raw(limit_price="NaN"), 422),
    (raw(symbol='"\\ud800"'), 422),
    (raw(symbol='"AAPL\\u0000"'), 422),
    (raw(symbol='"' + "A" * 10_000 + '"'), 422),
    (raw(account_id="1"), 422),
    (raw(account_id='"99999999999999999999"'), 422),
    (raw(side='"buy", "side": "sell"'), 422),
    (raw(side='"buy", "surprise": 1'), 422),
    (raw(side='"buy", "\\ud800": 1'), 422),
    (b"[" * 100_000, 413),
    (b"[" * 50_000, 400),
    (b'{"a":' * 30 + b"1" + b"}" * 30, 422),
    (b"[]", 422),
    (b"null", 422),
    (b'"text"', 422),
    (b"", 422),
    (b"{", 400),
    (b"\xff\xfe", 400),
    (b'{"a": "' + b"x" * 70_000 + b'"}', 413),
]


async def test_a_hostile_body_is_the_documented_refusal(world: World, trader: Person) -> None:
    for body, status in HOSTILE_BODIES:
        headers = {"Idempotency-Key": new_id(), "Content-Type": "application/json"}
        answer = await trader.client.post("/api/orders", content=body, headers=headers)
        assert answer.status_code == status, (body[:200], answer.text)
        code(answer)
    assert not await world.rows("SELECT 1 FROM app.orders")


async def test_another_content_type_is_415(world: World, trader: Person) -> None:
    form, utf_16 = "application/x-www-form-urlencoded", "application/json; charset=utf-16"
    for content_type in (None, "text/plain", form, utf_16):
        headers = {"Idempotency-Key": new_id()}
        if content_type is not None:
            headers["Content-Type"] = content_type
        answer = await trader.client.post("/api/orders", content=raw(), headers=headers)
        assert (answer.status_code, code(answer)) == (415, "unsupported_media_type")


async def test_a_body_without_a_length_is_cut_at_the_limit(world: World, trader: Person) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 10_000

    headers = {"Idempotency-Key": new_id(), "Content-Type": "application/json"}
    answer = await trader.client.post("/api/orders", content=endless(), headers=headers)
    assert (answer.status_code, code(answer)) == (413, "body_too_large")


async def test_an_odd_content_length_is_413(world: World, trader: Person) -> None:
    for length in ("-1", "x", "1" * 400, "٣"):
        headers = {b"Idempotency-Key": b"a", b"Content-Length": length.encode()}
        answer = await trader.client.post("/api/orders", content=raw(), headers=headers)
        assert answer.status_code == 413, length


async def test_a_cancellation_answers_202_and_cancels_what_was_not_sent(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    placed = (await trader.place(order(account_id))).json()
    path = f"/api/orders/{placed['order_id']}/cancel"
    for _ in range(2):
        answer = await trader.client.post(path)
        assert answer.status_code == 202, answer.text
        assert answer.json()["status"] == "canceled"


async def test_a_cancellation_key_belongs_to_one_order(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    headers = {"Idempotency-Key": new_id()}
    statuses = []
    for _ in range(2):
        placed = (await trader.place(order(account_id))).json()
        path = f"/api/orders/{placed['order_id']}/cancel"
        statuses.append((await trader.client.post(path, headers=headers)).status_code)
    assert statuses == [202, 422]


async def test_an_odd_order_id_is_refused(world: World, trader: Person) -> None:
    for order_id in ("0", "-1", "x", "1.5", "9" * 19, "%00", "1%0a"):
        answer = await trader.client.post(f"/api/orders/{order_id}/cancel")
        assert (answer.status_code, code(answer)) == (422, "validation_failed"), order_id


async def test_an_order_can_be_read_by_its_own_id(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    placed = (await trader.place(order(account_id), "my-order_1")).json()
    answer = await trader.client.get("/api/orders/my-order_1")
    assert answer.status_code == 200
    assert answer.json()["order_id"] == placed["order_id"]
    missing = await trader.client.get("/api/orders/another")
    assert (missing.status_code, code(missing)) == (404, "order_not_found")


async def test_an_odd_client_order_id_in_the_path_is_422(world: World, trader: Person) -> None:
    for path in ("a" * 37, "a%00", "%ff", "a b", "ä"):
        answer = await trader.client.get(f"/api/orders/{path}")
        assert (answer.status_code, code(answer)) == (422, "validation_failed"), path


async def test_the_request_id_reaches_the_order_and_the_outbox(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    headers = {"Idempotency-Key": new_id(), "X-Request-Id": "click-1"}
    answer = await trader.client.post("/api/orders", json=order(account_id), headers=headers)
    assert answer.headers["X-Request-Id"] == "click-1"
    rows = await world.rows(
        "SELECT request_id FROM app.orders UNION ALL SELECT request_id FROM app.events_outbox"
    )
    assert [row["request_id"] for row in rows] == ["click-1", "click-1"]


async def test_a_worker_that_listens_is_poked_after_the_commit(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    listener = await world.database.connect("app_worker")
    poked = asyncio.Event()
    await listener.add_listener("outbox_poke", lambda *_: poked.set())
    await trader.place(order(account_id))
    async with asyncio.timeout(5):
        await poked.wait()


async def test_a_write_that_does_not_come_from_our_pages_is_refused(
    world: World, trader: Person
) -> None:
    for name in FROM_OUR_PAGES:
        del trader.client.headers[name]
    foreign = {"rid": "x", "Origin": "http://evil.example"}
    for given in ({}, {"rid": "x"}, {"Origin": FROM_OUR_PAGES["Origin"]}, foreign):
        headers = {**given, "Idempotency-Key": new_id()}
        answer = await trader.client.post("/api/orders", json=order(1), headers=headers)
        assert (answer.status_code, code(answer)) == (403, "csrf_rejected"), given
    for method in ("DELETE", "PUT", "TRACE"):
        answer = await trader.client.request(method, "/api/orders", headers=foreign)
        assert answer.status_code == 405, "no route does it, so there is nothing to protect"
