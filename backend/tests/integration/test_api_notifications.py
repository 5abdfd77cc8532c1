"""The routes of notifications: one's own channels, hostile addresses, and what an admin may."""

from __future__ import annotations

from typing import Any

import pytest
from api_world import MakePerson, Person, World, code

URL = "jsons://user:secret@hooks.example.com/secret-path"
BODY = {"url": URL, "kinds": ["fill", "halt"], "account_ids": None, "interval_s": 60}


async def _put(person: Person, name: str = "mine", **changes: Any) -> Any:
    return await person.client.put(f"/api/notifications/{name}", json={**BODY, **changes})


async def test_a_channel_is_set_listed_without_its_address_tested_and_ended(
    world: World, make_person: MakePerson, caplog: pytest.LogCaptureFixture
) -> None:
    trader = await make_person("trader")
    account_id = await world.account(trader)
    assert (await _put(trader, account_ids=[str(account_id)])).status_code == 204
    kept = {"kinds": ["fill"], "interval_s": 120, "enabled": False}
    answer = await trader.client.put("/api/notifications/mine", json=kept)
    assert answer.status_code == 204, answer.text
    answer = await trader.client.get("/api/notifications")
    assert "secret" not in answer.text
    (shown,) = answer.json()["items"]
    assert {name: shown[name] for name in ("name", "hint", "kinds", "interval_s", "enabled")} == {
        "name": "mine",
        "hint": "jsons://hooks.example.com/...",
        **kept,
    }
    post = trader.client.post
    for _ in range(2):
        assert (await post("/api/notifications/mine/test", json={})).status_code == 202
    (shown,) = (await trader.client.get("/api/notifications")).json()["items"]
    assert shown["pending"] == 1
    assert (await trader.client.delete("/api/notifications/mine")).status_code == 204
    for answer in (
        await trader.client.delete("/api/notifications/mine"),
        await post("/api/notifications/mine/test", json={}),
    ):
        assert (answer.status_code, code(answer)) == (404, "channel_not_found")
    assert "user:secret" not in caplog.text


async def test_another_users_channel_is_not_there(world: World, make_person: MakePerson) -> None:
    trader, other = await make_person("trader"), await make_person("trader")
    account_id = await world.account(trader)
    assert (await _put(trader)).status_code == 204
    assert (await other.client.get("/api/notifications")).json() == {"items": []}
    assert (await other.client.delete("/api/notifications/mine")).status_code == 404
    answer = await _put(other, account_ids=[str(account_id)])
    assert (answer.status_code, code(answer)) == (404, "account_not_found")
    assert (await _put(other, kinds=[])).status_code == 204
    assert (await trader.client.get("/api/notifications")).json()["items"][0]["kinds"] != []


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://169.254.169.254/latest"},
        {"url": "jsons://127.0.0.1/x"},
        {"url": "json://example.com/plain"},
        {"url": "slack://a/b/c?template=/etc/passwd"},
        {"url": ""},
        {"url": "jsons://example.com/" + "x" * 500},
        {"url": 7},
        {"kinds": ["weather"]},
        {"kinds": "fill"},
        {"interval_s": 9},
        {"interval_s": "60"},
        {"interval_s": 1e9},
        {"account_ids": ["x"]},
        {"account_ids": [1]},
        {"enabled": "yes"},
        {"failures": 0},
    ],
    ids=str,
)
async def test_a_hostile_setting_is_refused_and_its_address_not_repeated(
    world: World, make_person: MakePerson, changes: dict[str, Any]
) -> None:
    trader = await make_person("trader")
    answer = await _put(trader, **changes)
    assert answer.status_code == 422, answer.text
    for word in ("169.254", "template=/etc", "secret"):
        assert word not in answer.text
    assert (await _put(trader, name="a.b")).status_code == 422
    assert (await trader.client.get("/api/notifications")).json() == {"items": []}


async def test_an_administrator_sees_all_without_addresses_and_ends_one(
    world: World, make_person: MakePerson
) -> None:
    admin, trader = await make_person("admin"), await make_person("trader")
    assert (await _put(trader)).status_code == 204
    answer = await admin.client.get("/api/admin/notifications")
    assert "secret" not in answer.text
    (shown,) = [one for one in answer.json()["items"] if one["email"] == trader.email]
    path = f"/api/admin/notifications/{shown['channel_id']}"
    refused = await trader.client.post(f"{path}/remove", json={})
    assert (refused.status_code, code(refused)) == (403, "role_not_allowed")
    refused = await trader.client.get("/api/admin/notifications")
    assert (refused.status_code, code(refused)) == (403, "role_not_allowed")
    assert (await admin.client.post(f"{path}/requeue", json={})).status_code == 204
    assert (await admin.client.post(f"{path}/read", json={})).status_code == 422
    assert (await admin.client.post(f"{path}/remove", json={})).status_code == 204
    assert (await admin.client.post(f"{path}/remove", json={})).status_code == 404
    assert (await trader.client.get("/api/notifications")).json() == {"items": []}
