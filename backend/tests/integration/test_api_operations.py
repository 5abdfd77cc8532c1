"""The routes of operators: what they answer, and to whom."""

from api_world import MakePerson, World, code, order


async def test_a_waiting_row_is_listed_requeued_and_its_order_not_resolved(
    world: World, make_person: MakePerson
) -> None:
    admin = await make_person("admin")
    account_id = await world.account(admin)
    placed = (await admin.place(order(account_id))).json()
    listed = (await admin.client.get("/api/admin/outbox")).json()["items"]
    (row,) = [one for one in listed if one["order_id"] == placed["order_id"]]
    assert (row["state"], row["kind"], row["attempts"]) == ("pending", "order.place.v1", 0)
    answer = await admin.client.post(f"/api/admin/outbox/{row['event_id']}/requeue")
    assert (answer.status_code, answer.json()) == (200, {"was": "pending"})
    found = {"status": "canceled", "reason": "looked"}
    answer = await admin.client.post(f"/api/admin/orders/{placed['order_id']}/resolve", json=found)
    assert (answer.status_code, code(answer)) == (409, "order_not_lost")


async def test_what_is_not_there_is_404_and_what_is_malformed_422(
    world: World, make_person: MakePerson
) -> None:
    admin = await make_person("admin")
    post = admin.client.post
    for path, body, wanted in (
        ("outbox/999/requeue", {}, (404, "event_not_found")),
        ("orders/999/resolve", {"status": "canceled", "reason": "x"}, (404, "order_not_found")),
        ("recon-breaks/999/resolve", {"reason": "x"}, (404, "break_not_found")),
    ):
        answer = await post(f"/api/admin/{path}", json=body)
        assert (answer.status_code, code(answer)) == wanted, path
    for body in ({}, {"status": "filled", "reason": "x"}, {"status": "canceled", "reason": ""}):
        assert (await post("/api/admin/orders/1/resolve", json=body)).status_code == 422, body
    assert (await post("/api/admin/outbox/x/requeue", json={})).status_code == 422
    for path in ("lost-orders", "recon-breaks"):
        answer = await admin.client.get(f"/api/admin/{path}")
        assert (answer.status_code, answer.json()["items"]) == (200, []), path


async def test_a_trader_is_no_operator(world: World, make_person: MakePerson) -> None:
    trader = await make_person("trader")
    account_id = await world.account(trader)
    await trader.place(order(account_id))
    for path in ("outbox", "lost-orders", "recon-breaks"):
        answer = await trader.client.get(f"/api/admin/{path}")
        assert (answer.status_code, code(answer)) == (403, "role_not_allowed"), path
    for path, body in (
        ("outbox/1/requeue", {}),
        ("orders/1/resolve", {"status": "canceled", "reason": "x"}),
        ("recon-breaks/1/resolve", {"reason": "x"}),
    ):
        answer = await trader.client.post(f"/api/admin/{path}", json=body)
        assert (answer.status_code, code(answer)) == (403, "role_not_allowed"), path
