"""Replacing orders and canceling them all, over HTTP."""

from typing import Any

import httpx
from api_world import MakePerson, Person, World, code, new_id, order


async def change(
    person: Person, order_id: str, body: Any, key: str | None = None
) -> httpx.Response:
    headers = {"Idempotency-Key": key or new_id()}
    return await person.client.patch(f"/api/orders/{order_id}", json=body, headers=headers)


async def test_an_order_that_never_left_is_changed_at_once(world: World, trader: Person) -> None:
    placed = (await trader.place(order(await world.account(trader)))).json()
    answer = await change(trader, placed["order_id"], {"quantity": "7", "limit_price": "19.5"})
    assert (answer.status_code, answer.json()["status"]) == (202, "new"), answer.text
    [row] = await world.rows("SELECT quantity, limit_price FROM app.orders")
    assert (str(row["quantity"]), str(row["limit_price"])) == ("7", "19.5")


async def test_a_repeated_replace_changes_once(world: World, trader: Person) -> None:
    placed = (await trader.place(order(await world.account(trader)))).json()
    key = new_id()
    first = await change(trader, placed["order_id"], {"quantity": "7"}, key)
    assert "Idempotent-Replayed" not in first.headers
    again = await change(trader, placed["order_id"], {"quantity": "7.0"}, key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    other = await change(trader, placed["order_id"], {"quantity": "8"}, key)
    assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
    [row] = await world.rows("SELECT quantity FROM app.orders")
    assert row["quantity"] == 7


async def test_a_replace_that_risk_denies_is_409_and_on_record(
    world: World, trader: Person
) -> None:
    placed = (await trader.place(order(await world.account(trader)))).json()
    key = new_id()
    for replayed in (None, "true"):
        answer = await change(trader, placed["order_id"], {"quantity": "10001"}, key)
        assert (answer.status_code, code(answer)) == (409, "replace_denied")
        assert answer.headers.get("Idempotent-Replayed") == replayed
        [fault] = answer.json()["errors"]
        assert fault["type"] == "ORDER_QUANTITY_EXCEEDS_MAX"
    [row] = await world.rows("SELECT quantity, status FROM app.orders")
    assert (row["quantity"], row["status"]) == (10, "new")
    denied = "SELECT FROM audit.audit_log WHERE action = 'order.replace_denied'"
    assert len(await world.rows(denied)) == 1


async def test_a_replace_that_makes_no_sense_is_refused(world: World, trader: Person) -> None:
    placed = (await trader.place(order(await world.account(trader)))).json()
    order_id = placed["order_id"]
    for body in (
        {},
        {"quantity": None},
        {"quantity": 7},
        {"quantity": "NaN"},
        {"quantity": "0"},
        {"quantity": "-1"},
        {"quantity": "1.123456789"},
        {"side": "sell"},
        {"quantity": "7", "surprise": 1},
        [],
    ):
        answer = await change(trader, order_id, body)
        assert (answer.status_code, code(answer)) == (422, "validation_failed"), body
    empty = await change(trader, order_id, {"quantity": "10", "limit_price": "20.00"})
    assert (empty.status_code, code(empty)) == (422, "replace_empty")
    price = await change(trader, order_id, {"stop_price": "19"})
    assert (price.status_code, code(price)) == (422, "price_invalid")
    assert (await change(trader, "x", {"quantity": "7"})).status_code == 422
    unknown = await change(trader, "999", {"quantity": "7"})
    assert (unknown.status_code, code(unknown)) == (404, "order_not_found")
    keyless = await trader.client.patch(f"/api/orders/{order_id}", json={"quantity": "7"})
    assert (keyless.status_code, code(keyless)) == (400, "idempotency_key_missing")


async def test_a_canceled_order_is_not_replaced(world: World, trader: Person) -> None:
    placed = (await trader.place(order(await world.account(trader)))).json()
    await trader.client.post(f"/api/orders/{placed['order_id']}/cancel")
    answer = await change(trader, placed["order_id"], {"quantity": "7"})
    assert (answer.status_code, code(answer)) == (409, "order_not_replaceable")


CHANGING = [
    # role, member, can trade, status of a replace, status of cancel-all
    ("viewer", True, True, 403, 403),
    ("trader", True, True, 202, 202),
    ("trader", True, False, 403, 403),
    ("trader", False, False, 404, 404),
    ("admin", True, True, 202, 202),
    ("admin", False, False, 404, 202),
]


async def test_changes_need_a_role_and_a_membership(world: World, make_person: MakePerson) -> None:
    people = {role: await make_person(role) for role in ("viewer", "trader", "admin")}
    owner = await make_person("trader")
    for role, member, can_trade, replacing, canceling in CHANGING:
        person = people[role]
        account_id = await world.account(owner)
        placed = (await owner.place(order(account_id))).json()
        if member:
            query = "SELECT app.sp_member_set('system:test', $1, $2, $3)"
            await world.migrate.execute(query, account_id, person.user_id, can_trade)
        answer = await change(person, placed["order_id"], {"quantity": "7"})
        assert answer.status_code == replacing, (role, member, can_trade, answer.text)
        answer = await cancel_all(person, account_id)
        assert answer.status_code == canceling, (role, member, can_trade, answer.text)


async def cancel_all(person: Person, account_id: int, key: str | None = None) -> httpx.Response:
    body = {"account_id": str(account_id)}
    headers = {"Idempotency-Key": key} if key else {}
    return await person.client.post("/api/orders/cancel-all", json=body, headers=headers)


async def test_cancel_all_counts_what_it_cancels(world: World, trader: Person) -> None:
    account_id, other = await world.account(trader), await world.account(trader)
    for account in (account_id, account_id, other):
        await trader.place(order(account))
    answer = await cancel_all(trader, account_id)
    assert (answer.status_code, answer.json()) == (
        202,
        {"account_id": str(account_id), "canceled": 2},
    )
    open_orders = await world.rows("SELECT account_id FROM app.orders WHERE status = 'new'")
    assert [row["account_id"] for row in open_orders] == [other]


async def test_a_repeated_cancel_all_leaves_newer_orders_alone(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    key = new_id()
    await trader.place(order(account_id))
    assert (await cancel_all(trader, account_id, key)).json()["canceled"] == 1
    await trader.place(order(account_id))
    assert (await cancel_all(trader, account_id, key)).json()["canceled"] == 1
    assert len(await world.rows("SELECT FROM app.orders WHERE status = 'new'")) == 1
    assert (await cancel_all(trader, account_id)).json()["canceled"] == 1
    assert not await world.rows("SELECT FROM app.orders WHERE status = 'new'")


async def test_a_malformed_cancel_all_is_422(world: World, trader: Person) -> None:
    for body in ({}, {"account_id": 1}, {"account_id": "0"}, {"account_id": "1", "x": 1}, []):
        answer = await trader.client.post("/api/orders/cancel-all", json=body)
        assert (answer.status_code, code(answer)) == (422, "validation_failed"), body
