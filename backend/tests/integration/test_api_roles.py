"""Who may do what over HTTP: role, membership, and a session that lives."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from api_world import MakePerson, Person, World, code, new_id, order

PLACING = [
    # role, member, can trade, status, refusal
    ("viewer", True, True, 403, "role_not_allowed"),
    ("viewer", False, False, 403, "role_not_allowed"),
    ("trader", True, True, 201, None),
    ("trader", True, False, 403, "not_allowed_to_trade"),
    ("trader", False, False, 404, "account_not_found"),
    ("admin", True, True, 201, None),
    ("admin", True, False, 403, "not_allowed_to_trade"),
    ("admin", False, False, 404, "account_not_found"),
]


async def test_placing_needs_a_role_and_a_membership(world: World, make_person: MakePerson) -> None:
    people = {role: await make_person(role) for role in ("viewer", "trader", "admin")}
    for role, member, can_trade, status, refusal in PLACING:
        person = people[role]
        account_id = await world.account(*([person] if member else []), can_trade=can_trade)
        answer = await person.place(order(account_id))
        assert answer.status_code == status, (role, member, can_trade, answer.text)
        assert refusal is None or code(answer) == refusal
        placed = await world.rows("SELECT 1 FROM app.orders WHERE account_id = $1", account_id)
        assert len(placed) == (status == 201)


async def test_an_order_of_another_account_does_not_exist(
    world: World, make_person: MakePerson
) -> None:
    owner, stranger = await make_person("trader"), await make_person("trader")
    placed = (await owner.place(order(await world.account(owner)))).json()
    await world.account(stranger)
    reading = await stranger.client.get(f"/api/orders/{placed['client_order_id']}")
    canceling = await stranger.client.post(f"/api/orders/{placed['order_id']}/cancel")
    assert (reading.status_code, code(reading)) == (404, "order_not_found")
    assert (canceling.status_code, code(canceling)) == (404, "order_not_found")


async def test_a_key_of_another_user_says_nothing_of_his_order(
    world: World, make_person: MakePerson
) -> None:
    owner, stranger = await make_person("trader"), await make_person("trader")
    key = new_id()
    account_id = await world.account(owner)
    await owner.place(order(account_id), key)
    answer = await stranger.place(order(await world.account(stranger)), key)
    assert (answer.status_code, code(answer)) == (422, "idempotency_key_reused")
    assert str(account_id) not in answer.json().get("detail", "")


async def test_a_revocation_binds_the_very_next_write(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    handle = (await trader.client.get("/api/session")).json()["session_handle"]
    connection = await world.database.connect("app_write")
    await connection.execute(
        "SELECT app.sp_session_revoked('system:test', $1, $2)", trader.user_id, handle
    )
    answer = await trader.place(order(account_id))
    assert (answer.status_code, code(answer)) == (401, "session_revoked")
    assert not await world.rows("SELECT 1 FROM app.orders")


async def test_a_changed_role_binds_the_very_next_write(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    connection = await world.database.connect("app_write")
    await connection.execute(
        "SELECT app.sp_user_upsert('system:test', $1, $2, 'viewer', FALSE)",
        trader.user_id,
        trader.email,
    )
    answer = await trader.place(order(account_id))
    assert (answer.status_code, code(answer)) == (403, "role_not_allowed")


async def test_a_disabled_user_is_out_at_once(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    connection = await world.database.connect("app_write")
    await connection.execute(
        "SELECT app.sp_user_upsert('system:test', $1, $2, 'trader', TRUE)",
        trader.user_id,
        trader.email,
    )
    answer = await trader.place(order(account_id))
    assert (answer.status_code, code(answer)) == (401, "user_disabled")


SWITCHES = [
    ("viewer", "halt", 403),
    ("trader", "halt", 200),
    ("trader", "reduce", 403),
    ("trader", "resume", 403),
    ("admin", "halt", 200),
    ("admin", "reduce", 200),
    ("admin", "resume", 200),
]


async def test_the_switch_of_an_account_needs_a_role(world: World, make_person: MakePerson) -> None:
    people = {role: await make_person(role) for role in ("viewer", "trader", "admin")}
    for role, verb, status in SWITCHES:
        account_id = await world.account(people[role])
        body = {"scope": "account", "scope_id": str(account_id), "reason": "drill"}
        answer = await people[role].client.post(f"/api/trading/{verb}", json=body)
        assert answer.status_code == status, (role, verb, answer.text)


async def test_only_an_administrator_stops_everyone(world: World, make_person: MakePerson) -> None:
    trader, admin = await make_person("trader"), await make_person("admin")
    account_id = await world.account(trader)
    body = {"scope": "global", "scope_id": "0", "reason": "drill"}
    assert (await trader.client.post("/api/trading/halt", json=body)).status_code == 403
    halted = await admin.client.post("/api/trading/halt", json=body)
    assert halted.json() == {"scope": "global", "scope_id": "0", "state": "halted"}
    denied = (await trader.place(order(account_id))).json()
    assert (denied["status"], denied["reason_code"]) == ("denied", "TRADING_HALTED")
    await admin.client.post("/api/trading/resume", json=body)
    assert (await trader.place(order(account_id))).json()["status"] == "new"


async def test_the_session_says_who_is_signed_in(world: World, trader: Person) -> None:
    answer = await trader.client.get("/api/session")
    assert answer.status_code == 200
    assert answer.json()["user_id"] == str(trader.user_id)
    assert (answer.json()["email"], answer.json()["role"]) == (trader.email, "trader")
    assert answer.json()["expires_at"].endswith("Z")


async def test_the_gate_names_the_user_and_sets_no_cookie(world: World, trader: Person) -> None:
    answer = await trader.client.get("/auth/verify")
    assert answer.status_code == 200
    assert answer.headers["X-User-Id"] == str(trader.user_id)
    assert answer.headers["X-User-Role"] == "trader"
    assert answer.headers["X-Session-Handle"]
    assert "set-cookie" not in answer.headers
    stranger = await world.client().get("/auth/verify")
    assert (stranger.status_code, code(stranger)) == (401, "session_required")


async def test_a_refreshed_token_is_taken_into_use_by_the_session_and_not_by_the_gate(
    world: World, trader: Person
) -> None:
    refreshed = await trader.client.post("/auth/session/refresh")
    assert refreshed.status_code == 200, refreshed.text
    gate = await trader.client.get("/auth/verify")
    assert (gate.status_code, "set-cookie" in gate.headers) == (200, False)
    session = await trader.client.get("/api/session")
    assert session.status_code == 200
    assert "sAccessToken=" in session.headers["set-cookie"]
    assert "set-cookie" not in (await trader.client.get("/api/session")).headers


async def test_our_own_processes_ask_after_sessions_with_their_token(
    world: World, trader: Person
) -> None:
    session = (await trader.client.get("/api/session")).json()
    key = {"handle": session["session_handle"], "user_id": session["user_id"]}
    unknown = {"handle": "unknown", "user_id": str(uuid4())}
    client = world.client()
    path, body = "/api/internal/sessions/check", {"sessions": [key, unknown, key]}
    for token in ("", "Bearer", "Bearer wrong", f"Basic {world.secret('worker_token')}"):
        refused = await client.post(path, json=body, headers={"Authorization": token})
        assert (refused.status_code, code(refused)) == (401, "service_token_invalid")
    bearer = {"Authorization": f"Bearer {world.secret('worker_token')}"}

    async def ours() -> tuple[bool, str | None]:
        answer = await client.post(path, json=body, headers=bearer)
        states = {state["handle"]: state for state in answer.json()["sessions"]}
        assert len(answer.json()["sessions"]) == 2
        assert states["unknown"] == {**unknown, "active": False, "role": None}
        state = states[key["handle"]]
        assert state["user_id"] == key["user_id"]
        return state["active"], state["role"]

    async def change(role: str, *, disabled: bool) -> None:
        upsert = "SELECT app.sp_user_upsert('system:test', $1, $2, $3, $4)"
        await world.migrate.execute(upsert, trader.user_id, trader.email, role, disabled)

    # Each change is seen by the very next question.
    assert await ours() == (True, "trader")
    await change("viewer", disabled=False)
    assert await ours() == (True, "viewer")
    await change("viewer", disabled=True)
    assert await ours() == (False, None)
    await change("trader", disabled=False)
    assert await ours() == (True, "trader")
    connection = await world.database.connect("app_write")
    await connection.execute(
        "SELECT app.sp_session_revoked('system:test', $1, $2)", trader.user_id, key["handle"]
    )
    assert await ours() == (False, None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"handles": ["a"]},
        {"sessions": [{"handle": "a"}]},
        {"sessions": [{"handle": "a b", "user_id": "00000000-0000-4000-8000-000000000000"}]},
        {"sessions": [{"handle": "a", "user_id": "somebody"}]},
        {"sessions": [{"handle": "a", "user_id": 1}]},
        {"sessions": [{"handle": "a", "user_id": str(UUID(int=0))}] * 251},
    ],
)
async def test_a_question_about_sessions_that_makes_no_sense_is_422(
    world: World, body: dict[str, Any]
) -> None:
    bearer = {"Authorization": f"Bearer {world.secret('worker_token')}"}
    answer = await world.client().post("/api/internal/sessions/check", json=body, headers=bearer)
    assert (answer.status_code, code(answer)) == (422, "validation_failed")
