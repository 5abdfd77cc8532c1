"""Several orders in one request: one answer an item, or one refusal for all."""

import asyncio
import json
from typing import Any

from api_world import MakePerson, Person, World, code, new_id, order

from app.api.middleware import BATCH_BYTES_MAX

LONGEST = {
    "account_id": "9" * 18,
    "symbol": "A" * 16,
    "side": "sell",
    "order_type": "stop_limit",
    "quantity": "9" * 12 + "." + "9" * 8,
    "limit_price": "9" * 12 + "." + "9" * 8,
    "stop_price": "9" * 12 + "." + "9" * 8,
    "time_in_force": "gtd",
    "expires_at": "2030-01-01T00:00:00.123456+00:00",
    "strategy_id": "9" * 18,
}


def item(account_id: int, **changes: Any) -> dict[str, Any]:
    return order(account_id, **{"client_order_id": new_id(), **changes})


async def place_all(person: Person, items: list[dict[str, Any]]) -> Any:
    return await person.client.post("/api/orders/batch", json={"orders": items})


async def test_every_item_gets_its_answer_in_the_order_given(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    items = [item(account_id, quantity=quantity) for quantity in ("1", "10001", "2")]
    answer = await place_all(trader, items)
    assert answer.status_code == 201, answer.text
    placed = answer.json()["orders"]
    assert [it["client_order_id"] for it in placed] == [it["client_order_id"] for it in items]
    assert [it["status"] for it in placed] == ["new", "denied", "new"]
    assert placed[1]["reason_code"] == "ORDER_QUANTITY_EXCEEDS_MAX"
    assert len(await world.rows("SELECT FROM app.events_outbox")) == 2


async def test_a_repeated_batch_answers_200_and_the_same_orders(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    items = [item(account_id) for _ in range(3)]
    first = (await place_all(trader, items)).json()["orders"]
    again = await place_all(trader, items)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json()["orders"] == [{**it, "replayed": True} for it in first]
    more = await place_all(trader, [*items, item(account_id)])
    assert more.status_code == 201
    assert [it["replayed"] for it in more.json()["orders"]] == [True] * 3 + [False]


async def test_a_batch_and_a_single_order_know_each_other_by_id(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    one = item(account_id, quantity="10.50", order_type="stop_limit", stop_price="19.5",
               time_in_force="gtd", expires_at="2099-01-01T01:00:00+01:00")  # fmt: skip
    single = {name: value for name, value in one.items() if name != "client_order_id"}
    assert (await place_all(trader, [one])).status_code == 201
    answer = await trader.place({**single, "quantity": "10.5"}, one["client_order_id"])
    assert answer.status_code == 200, answer.text


async def test_one_item_that_must_be_refused_refuses_all_and_is_named(
    world: World, make_person: MakePerson
) -> None:
    owner, other = await make_person("trader"), await make_person("trader")
    mine, foreign = await world.account(owner), await world.account(other)
    used = item(mine)
    await place_all(owner, [used])
    for wrong, status, refusal in (
        (item(foreign), 404, "account_not_found"),
        (item(mine, symbol="NOPE"), 422, "instrument_not_found"),
        (item(mine, strategy_id="7"), 404, "strategy_not_found"),
        ({**used, "quantity": "11"}, 422, "idempotency_key_reused"),
    ):
        answer = await place_all(owner, [item(mine), wrong, item(mine)])
        assert (answer.status_code, code(answer)) == (status, refusal)
        assert answer.json()["errors"] == [{"loc": ["body", "orders", 1], "type": refusal}]
    assert len(await world.rows("SELECT FROM app.orders")) == 1


async def test_who_may_not_trade_places_no_batch(world: World, make_person: MakePerson) -> None:
    viewer, looker = await make_person("viewer"), await make_person("trader")
    for person, refusal in ((viewer, "role_not_allowed"), (looker, "not_allowed_to_trade")):
        account_id = await world.account(person, can_trade=False)
        answer = await place_all(person, [item(account_id)])
        assert (answer.status_code, code(answer)) == (403, refusal)


async def test_a_malformed_batch_is_422(world: World, trader: Person) -> None:
    good = item(1)
    for body in (
        {},
        {"orders": []},
        {"orders": None},
        {"orders": [good] * 501},
        {"orders": [order(1)]},
        {"orders": [{**good, "client_order_id": "a" * 37}]},
        {"orders": [{**good, "client_order_id": None}]},
        {"orders": [{**good, "quantity": 10}]},
        {"orders": [{**good, "quantity": "NaN"}]},
        {"orders": [{**good, "surprise": "1"}]},
        {"orders": [good], "surprise": "1"},
        [good],
    ):
        answer = await trader.client.post("/api/orders/batch", json=body)
        assert (answer.status_code, code(answer)) == (422, "validation_failed"), str(body)[:200]
    assert not await world.rows("SELECT FROM app.orders")


async def test_500_orders_of_the_longest_kind_fit_and_much_more_does_not(
    world: World, trader: Person
) -> None:
    longest = [{**LONGEST, "client_order_id": f"{n:036}"} for n in range(500)]
    assert len(json.dumps({"orders": longest})) < BATCH_BYTES_MAX
    answer = await place_all(trader, longest)
    assert (answer.status_code, code(answer)) == (404, "account_not_found")
    body = json.dumps({"orders": longest}).encode() + b" " * BATCH_BYTES_MAX
    headers = {"Content-Type": "application/json"}
    answer = await trader.client.post("/api/orders/batch", content=body, headers=headers)
    assert (answer.status_code, code(answer)) == (413, "body_too_large")


async def test_racing_batches_with_the_same_ids_place_each_order_once(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    items = [item(account_id, quantity="1") for _ in range(20)]
    answers = await asyncio.gather(
        *(place_all(trader, items), place_all(trader, items[::-1]), place_all(trader, items))
    )
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len(await world.rows("SELECT FROM app.orders")) == 20
