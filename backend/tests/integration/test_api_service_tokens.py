"""Service tokens: what a program may do with one, and that it ends when it is told to."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from api_world import (
    FROM_OUR_PAGES,
    MakePerson,
    Person,
    World,
    code,
    needs_hot_store,
    new_id,
    order,
)
from token_kit import SCOPES, Program, make_program, revoke, wanted

BAR = {
    "symbol": "AAPL",
    "resolution": "1d",
    "bar_at": "2026-01-05T00:00:00Z",
    **dict.fromkeys(("open", "high", "low", "close"), "20"),
    "volume": "1",
}
# method, path of the description, scope
ROUTES = {
    ("post", "/api/orders", "orders:write"),
    ("post", "/api/orders/batch", "orders:write"),
    ("post", "/api/orders/preview", "orders:write"),
    ("post", "/api/orders/cancel-all", "orders:write"),
    ("post", "/api/orders/{order_id}/cancel", "orders:write"),
    ("patch", "/api/orders/{order_id}", "orders:write"),
    ("get", "/api/orders/{client_order_id}", "orders:read"),
    ("get", "/api/data/bars/gaps", "data:read"),
    ("get", "/api/data/bars", "data:read"),
    ("post", "/api/data/bars", "data:write"),
    ("post", "/api/data/quotes", "data:write"),
    ("get", "/api/lmdb/{table}/{key}", "hot:read"),
    ("put", "/api/lmdb/{table}/{key}", "hot:write"),
    ("delete", "/api/lmdb/{table}/{key}", "hot:write"),
}
QUERIES = {
    "/api/data/bars/gaps": "symbol=AAPL&resolution=1d&from=2026-01-05&to=2026-01-05",
    "/api/data/bars": "source=vendor",
    "get /api/data/bars": "symbol=AAPL&resolution=1d&from=2026-01-05T00:00:00Z"
    "&until=2026-01-06T00:00:00Z",
    "/api/data/quotes": "source=replay",
}


@pytest.fixture
async def admin(make_person: MakePerson) -> Person:
    """A signed-in administrator."""
    return await make_person("admin")


async def asked(
    program: Program, method: str, path: str, account_id: int, placed: dict[str, Any]
) -> httpx.Response:
    """Send a good request to a route."""
    bodies: dict[str, Any] = {
        "/api/orders": order(account_id),
        "/api/orders/batch": {"orders": [{**order(account_id), "client_order_id": new_id()}]},
        "/api/orders/preview": order(account_id),
        "/api/orders/cancel-all": {"account_id": str(account_id)},
        "/api/orders/{order_id}": {"quantity": "9"},
        "/api/data/bars": {"bars": [BAR]},
        "/api/data/quotes": {
            "quotes": [{"symbol": "AAPL", "price": "20", "at": datetime.now(UTC).isoformat()}]
        },
        "/api/lmdb/{table}/{key}": "state",
    }
    filled = path.replace("{client_order_id}", placed["client_order_id"])
    filled = filled.replace("{order_id}", placed["order_id"])
    filled = filled.replace("{table}", "strategy").replace("{key}", "mean")
    return await program.client.request(
        method,
        filled,
        params=httpx.QueryParams(QUERIES.get(f"{method} {path}", QUERIES.get(path, ""))),
        json=bodies.get(path) if method != "get" else None,
        headers={"Idempotency-Key": new_id()} if "/orders" in path else {},
    )


@needs_hot_store
async def test_every_scope_opens_its_routes_and_no_other(world: World, admin: Person) -> None:
    described = {
        (method, path)
        for path, operations in world.app.openapi()["paths"].items()
        for method, operation in operations.items()
        if {"service_token": []} in operation.get("security", [])
    }
    assert described == {(method, path) for method, path, _ in ROUTES}
    account_id = await world.account(admin)
    for scope in SCOPES:
        program = await make_program(world, admin, admin, scope, accounts=[account_id])
        for method, path, needed in sorted(ROUTES):
            placed = (await admin.place(order(account_id))).json()
            await admin.client.put("/api/lmdb/strategy/mean", content=b"state")
            answer = await asked(program, method, path, account_id, placed)
            if scope == needed:
                assert answer.is_success, (scope, method, path, answer.text)
            else:
                assert (answer.status_code, code(answer)) == (403, "scope_not_allowed")
                assert needed in answer.json()["detail"]


async def test_a_token_with_every_scope_opens_no_other_route(world: World, admin: Person) -> None:
    account_id = await world.account(admin)
    program = await make_program(world, admin, admin, accounts=[account_id])
    programs = {(method, path) for method, path, _ in ROUTES}
    closed = 0
    for path, operations in world.app.openapi()["paths"].items():
        for method, operation in operations.items():
            if (method, path) in programs or "401" not in operation["responses"]:
                continue
            filled = re.sub(r"{\w+}", "1", path)
            headers = FROM_OUR_PAGES
            answer = await program.client.request(method, filled, json={}, headers=headers)
            assert answer.status_code == 401, (method, path, answer.text)
            closed += path.startswith("/api/admin/")
    assert closed > 15


async def test_a_program_trades_without_cookie_rid_and_origin_and_the_audit_log_names_it(
    world: World, admin: Person, trader: Person
) -> None:
    account_id = await world.account(trader)
    program = await make_program(
        world, admin, trader, "orders:read", "orders:write", accounts=[account_id]
    )
    placed = await program.place(order(account_id))
    assert placed.status_code == 201, placed.text
    batch = {"orders": [{**order(account_id), "client_order_id": new_id()}]}
    assert (await program.client.post("/api/orders/batch", json=batch)).status_code == 201
    changing = await program.client.patch(
        f"/api/orders/{placed.json()['order_id']}",
        json={"quantity": "9"},
        headers={"Idempotency-Key": new_id()},
    )
    assert changing.status_code == 202, changing.text
    canceled = await program.client.post(f"/api/orders/{placed.json()['order_id']}/cancel")
    assert canceled.status_code == 202, canceled.text
    read = await program.client.get(f"/api/orders/{placed.json()['client_order_id']}")
    assert read.json()["status"] == "canceled"
    await program.client.post("/api/orders/cancel-all", json={"account_id": str(account_id)})
    rows = await world.rows(
        "SELECT actor, action FROM audit.audit_log WHERE stream_id = $1"
        " AND action LIKE 'order.%' ORDER BY seq",
        account_id,
    )
    actor = f"user:{trader.user_id} token:{program.token_id}"
    assert {row["actor"] for row in rows} == {actor}
    assert {row["action"] for row in rows} >= {
        "order.place", "order.replace", "order.canceled", "order.cancel_all"
    }  # fmt: skip
    whole = await admin.client.post("/api/audit/verify", json={})
    assert whole.json()["broken"] == []


async def test_a_replay_by_a_person_and_by_the_program_is_the_same_order(
    world: World, admin: Person, trader: Person
) -> None:
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, "orders:write", accounts=[account_id])
    key, body = new_id(), order(account_id)
    first, again = await program.place(body, key), await trader.place(body, key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["order_id"] == again.json()["order_id"]
    path = f"/api/orders/{first.json()['order_id']}"
    headers = {"Idempotency-Key": new_id()}
    one = await program.client.patch(path, json={"quantity": "9"}, headers=headers)
    two = await trader.client.patch(path, json={"quantity": "9"}, headers=headers)
    assert (one.status_code, two.status_code) == (202, 202)
    assert two.headers["Idempotent-Replayed"] == "true"


async def test_a_revocation_binds_the_very_next_write(
    world: World, admin: Person, trader: Person
) -> None:
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, accounts=[account_id])
    other = await make_program(world, admin, trader, accounts=[account_id])
    assert (await program.place(order(account_id))).status_code == 201
    await revoke(admin, program)
    for answer in (
        await program.place(order(account_id)),
        await program.client.get("/api/lmdb/strategy/x"),
        await program.client.put("/api/lmdb/strategy/x", content=b"1"),
        await program.client.get(f"/api/orders/{new_id()}"),
    ):
        assert (answer.status_code, code(answer)) == (401, "service_token_revoked")
    assert (await other.place(order(account_id))).status_code == 201
    assert len(await world.rows("SELECT 1 FROM app.orders")) == 2
    await revoke(admin, program)
    kinds = await world.rows("SELECT action FROM audit.audit_log WHERE action = 'token.revoke'")
    assert len(kinds) == 1


async def test_an_expired_token_opens_nothing(world: World, admin: Person, trader: Person) -> None:
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, accounts=[account_id])
    superuser = await world.database.connect("postgres")
    await superuser.execute("UPDATE security.service_tokens SET expires_at = clock_timestamp()")
    answer = await program.place(order(account_id))
    assert (answer.status_code, code(answer)) == (401, "service_token_expired")


async def test_an_account_it_does_not_cover_does_not_exist_for_it(
    world: World, admin: Person, make_person: MakePerson
) -> None:
    for role in ("trader", "admin"):
        person = await make_person(role)
        covered, other = await world.account(person), await world.account(person)
        program = await make_program(world, admin, person, accounts=[covered])
        theirs = (await person.place(order(other))).json()
        replace = {"quantity": "9"}
        headers = {"Idempotency-Key": new_id()}
        path = f"/api/orders/{theirs['order_id']}"
        everything = {"account_id": str(other)}
        batch = {"orders": [{**order(other), "client_order_id": new_id()}]}
        answers = {
            "account_not_found": [
                await program.place(order(other)),
                await program.client.post("/api/orders/preview", json=order(other)),
                await program.client.post("/api/orders/cancel-all", json=everything),
                await program.client.post("/api/orders/batch", json=batch),
            ],
            "order_not_found": [
                await program.client.get(f"/api/orders/{theirs['client_order_id']}"),
                await program.client.post(f"{path}/cancel"),
                await program.client.patch(path, json=replace, headers=headers),
            ],
        }
        for refused, found in answers.items():
            for answer in found:
                assert (answer.status_code, code(answer)) == (404, refused), answer.text


async def test_a_token_is_worth_no_more_than_its_user(
    world: World, admin: Person, make_person: MakePerson
) -> None:
    viewer, trader = await make_person("viewer"), await make_person("trader")
    account_id = await world.account(viewer, trader)
    program = await make_program(world, admin, viewer, accounts=[account_id])
    answer = await program.place(order(account_id))
    assert (answer.status_code, code(answer)) == (403, "role_not_allowed")
    program = await make_program(world, admin, trader, accounts=[account_id])
    bars = await program.client.post("/api/data/bars?source=vendor", json={"bars": [BAR]})
    assert (bars.status_code, code(bars)) == (403, "role_not_allowed")
    connection = await world.database.connect("app_write")
    upsert = "SELECT app.sp_user_upsert('system:test', $1, $2, 'trader', TRUE)"
    await connection.execute(upsert, trader.user_id, trader.email)
    answer = await program.place(order(account_id))
    assert (answer.status_code, code(answer)) == (401, "user_disabled")


async def test_the_users_order_rate_counts_the_program_too(
    world: World, admin: Person, trader: Person
) -> None:
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, accounts=[account_id])
    limit = {"user_id": str(trader.user_id), "orders_per_minute_max": "2"}
    await admin.client.put("/api/admin/user-rates", json=limit)
    answers = [
        await trader.place(order(account_id)),
        await program.place(order(account_id)),
        await program.place(order(account_id)),
    ]
    reasons = [answer.json()["reason_code"] for answer in answers]
    assert reasons == [None, None, "USER_ORDER_RATE_EXCEEDED"]


WRONG = ["", "x", "informania_", "informania_" + "a" * 42, "informania_" + "a" * 44,
         "informania_" + "a" * 43, "informania_" + "ä" * 43, "INFORMANIA_" + "a" * 43,
         "informania_" + "a" * 42 + "=", "informania_" + "a" * 42 + "\t", "a" * 5000]  # fmt: skip


async def test_what_is_no_token_is_refused(world: World, admin: Person, trader: Person) -> None:
    account_id = await world.account(trader)
    good = (await make_program(world, admin, trader, accounts=[account_id])).token
    client = world.client()
    spellings: list[list[tuple[bytes, bytes]]] = [
        [(b"authorization", f"Bearer {wrong}".encode())] for wrong in [*WRONG, f"{good} {good}"]
    ]
    spellings += [
        [(b"authorization", f"{scheme}{good}".encode())] for scheme in ("", "Basic ", "Bearer  ")
    ]
    spellings += [[(b"authorization", f"Bearer {good}".encode())] * 2]
    for headers in spellings:
        answer = await client.get("/api/orders/x", headers=headers)
        assert (answer.status_code, code(answer)) == (401, "service_token_invalid"), headers
        assert good not in answer.text
    for scheme in ("bearer", "BEARER"):
        headers = [(b"authorization", f"{scheme} {good}".encode())]
        assert (await client.get("/api/orders/x", headers=headers)).status_code == 404


async def test_a_session_and_a_token_together_are_refused(
    world: World, admin: Person, trader: Person
) -> None:
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, accounts=[account_id])
    trader.client.headers["Authorization"] = f"Bearer {program.token}"
    for answer in (await trader.place(order(account_id)), await trader.client.get("/api/session")):
        assert (answer.status_code, code(answer)) == (400, "credentials_doubled")
    # A browser that another site drives has the cookie, and is refused for what it lacks.
    del trader.client.headers["Origin"]
    answer = await trader.place(order(account_id))
    assert (answer.status_code, code(answer)) == (403, "csrf_rejected")
    assert not await world.rows("SELECT 1 FROM app.orders")


async def test_only_administrators_make_list_and_revoke(
    world: World, admin: Person, trader: Person
) -> None:
    program = await make_program(world, admin, trader)
    body = wanted(trader, "orders:read")
    for answer in (
        await trader.client.post("/api/admin/tokens", json=body),
        await trader.client.get("/api/admin/tokens"),
        await trader.client.post(f"/api/admin/tokens/{program.token_id}/revoke"),
    ):
        assert (answer.status_code, code(answer)) == (403, "role_not_allowed")
    missing = await admin.client.post("/api/admin/tokens/999/revoke")
    assert (missing.status_code, code(missing)) == (404, "token_not_found")
    answer = await program.client.get("/api/orders/x")
    assert (answer.status_code, code(answer)) == (404, "order_not_found")


async def test_a_token_that_makes_no_sense_is_not_made(
    world: World, admin: Person, trader: Person
) -> None:
    now = datetime.now(UTC)
    good = wanted(trader, "orders:read")
    odd: list[tuple[dict[str, Any], int, str]] = [
        ({"scopes": []}, 422, "validation_failed"),
        ({"scopes": ["orders:all"]}, 422, "validation_failed"),
        ({"scopes": "orders:read"}, 422, "validation_failed"),
        ({"account_ids": [1]}, 422, "validation_failed"),
        ({"account_ids": ["999"]}, 404, "account_not_found"),
        ({"user_id": "00000000-0000-4000-8000-000000000000"}, 404, "user_not_found"),
        ({"expires_at": now.isoformat()}, 422, "expires_at_invalid"),
        ({"expires_at": (now + timedelta(days=367)).isoformat()}, 422, "expires_at_invalid"),
        ({"name": ""}, 422, "validation_failed"),
        ({"token": "informania_x"}, 422, "validation_failed"),
    ]
    for change, status, refused in odd:
        answer = await admin.client.post("/api/admin/tokens", json={**good, **change})
        assert (answer.status_code, code(answer)) == (status, refused), change
    assert not await world.rows("SELECT 1 FROM security.service_tokens")
    assert not await world.rows("SELECT 1 FROM audit.audit_log WHERE action = 'token.create'")


async def test_a_token_is_shown_once_and_is_in_no_answer_log_or_table(
    world: World, admin: Person, trader: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, accounts=[account_id])
    assert re.fullmatch(r"informania_[A-Za-z0-9_-]{43}", program.token)
    await program.place(order(account_id))
    await program.client.get("/api/orders/x")
    await revoke(admin, program)
    await program.place(order(account_id))
    listed = await admin.client.get("/api/admin/tokens")
    (shown,) = listed.json()["items"]
    assert shown["email"] == trader.email
    assert shown["account_ids"] == [str(account_id)]
    assert shown["revoked_at"]
    assert shown["last_used_at"].endswith(":00.000000Z")
    digest = hashlib.sha256(program.token.encode()).digest()
    audit = await world.rows("SELECT detail FROM audit.audit_log WHERE action LIKE 'token.%'")
    told = [listed.text, json.dumps([row["detail"] for row in audit]), *capsys.readouterr()]
    for text in told:
        for secret in (program.token, program.token[11:], digest.hex()):
            assert secret not in text
    assert len(audit) == 2
    (kept,) = await world.rows("SELECT token_hash FROM security.service_tokens")
    assert kept["token_hash"] == digest
