"""What holds for every route: a session or the open list, an id, a problem, never a 500."""

import asyncio
import json
import re
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from api_world import OpenApi, Person, World, code, new_id, order, until
from fastapi.routing import iter_route_contexts
from free_ports import free_port

from app.core.settings import BACKEND_DIR
from app.services.db import SCHEMA_REVISION

# Design section 5, and what the middleware of the identity service answers under /auth.
OPEN = {
    ("get", "/api/health/live"),
    ("get", "/api/health/ready"),
    ("get", "/auth/login"),
    ("get", "/auth/login/{name}"),
    ("get", "/auth/logout"),
}
BY_SIGNATURE = {("post", "/api/webhooks/quantconnect")}
REFUSALS = {"session_required", "service_token_invalid"}


def every_route(world: World) -> list[tuple[str, str, dict[str, Any]]]:
    document = world.app.openapi()
    return [
        (method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def routes_served(world: World) -> set[tuple[str, str]]:
    """Return what the application really serves, whether its description names it or not."""
    return {
        (method.lower(), re.sub(r":\w+}", "}", str(context.path)))
        for context in iter_route_contexts(world.app.routes)
        for method in context.methods or ()
    }


async def test_every_route_is_on_the_open_list_or_refuses_a_stranger(world: World) -> None:
    client = world.client()
    seen = set()
    routes = routes_served(world)
    assert routes > {(method, path) for method, path, _ in every_route(world)}
    assert ("get", "/api/openapi.json") in routes
    for method, path in routes:
        filled = path.replace("{table}", "quotes").replace("{key}", "AAPL")
        filled = filled.replace("{order_id}", "1").replace("{client_order_id}", "a")
        filled = filled.replace("{name}", "login.js")
        answer = await client.request(method, filled, json={} if method != "get" else None)
        if (method, path) in OPEN:
            assert answer.status_code == 200, (path, answer.text)
        elif (method, path) in BY_SIGNATURE:
            assert code(answer) == "signature_invalid"
        else:
            assert answer.status_code == 401, (method, path, answer.text)
            assert code(answer) in REFUSALS
        seen.add((method, path))
    assert seen >= OPEN | BY_SIGNATURE


async def test_every_operation_describes_its_problems(world: World) -> None:
    for method, path, operation in every_route(world):
        if (method, path) == ("get", "/api/health/live"):
            continue
        described = {
            status
            for status, response in operation["responses"].items()
            if "application/problem+json" in response.get("content", {})
        }
        assert "503" in described, (method, path)
        assert (method, path) in OPEN or "401" in described, (method, path)


async def test_the_description_is_for_the_signed_in_and_absent_in_production(
    world: World, trader: Person
) -> None:
    answer = await trader.client.get("/api/openapi.json")
    document = answer.json()
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]
    for reference in _references(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference
    for path in ("/docs", "/redoc", "/openapi.json", "/api/docs"):
        assert (await trader.client.get(path)).status_code == 404


async def test_production_describes_itself_to_nobody(open_api: OpenApi) -> None:
    async with open_api(app_env="production", api_role="api") as world:
        answer = await world.client().get("/api/openapi.json")
        assert (answer.status_code, code(answer)) == (404, "not_found")


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(_references(value) for value in node)) if node else set()
    return set()


async def test_a_request_id_of_the_proxy_is_kept_and_an_odd_one_replaced(world: World) -> None:
    client = world.client()
    for given in ("abc-1_X", "a" * 64):
        answer = await client.get("/api/health/live", headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"] == given
    for given in ("", "a b", "a" * 65, "ä", "a\tb", "{}"):
        answer = await client.get("/api/health/live", headers={b"X-Request-Id": given.encode()})
        assert answer.headers["X-Request-Id"] != given
        assert len(answer.headers["X-Request-Id"]) == 32


async def test_every_line_of_a_request_carries_its_id(
    capsys: pytest.CaptureFixture[str], world: World, trader: Person
) -> None:
    headers = {"X-Request-Id": "one-click", "Idempotency-Key": new_id()}
    await trader.client.post("/api/orders", json=order(1), headers=headers)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ended = [line for line in lines if line["event"] == "request" and line["status"] != 200]
    assert [(line["request_id"], line["route"], line["status"]) for line in ended] == [
        ("one-click", "/api/orders", 404)
    ]


async def test_an_unknown_address_is_a_problem(world: World) -> None:
    for path in ("/", "/api", "/api/", "/api/orders/", "/nope", "/api/orders/a/b", "/%00", "/%ff"):
        answer = await world.client().get(path)
        assert (answer.status_code, code(answer)) == (404, "not_found"), path


async def test_another_method_is_a_problem_that_names_the_allowed_one(world: World) -> None:
    answer = await world.client().delete("/api/health/live")
    assert (answer.status_code, code(answer)) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET"


async def test_answers_are_not_stored_and_not_sniffed(world: World, trader: Person) -> None:
    answer = await trader.client.get("/api/session")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_code_knows_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(BACKEND_DIR / "alembic"))
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


async def test_a_database_at_another_revision_is_not_ready(world: World) -> None:
    client = world.client()
    assert (await client.get("/api/health/ready")).json() == {"status": "ready"}
    admin = await world.database.connect("postgres")
    await admin.execute("UPDATE app.alembic_version SET version_num = 'older'")
    answer = await client.get("/api/health/ready")
    assert (answer.status_code, code(answer)) == (503, "not_ready")
    assert "run migrate" in answer.json()["detail"]


async def test_connections_that_postgres_ended_are_replaced(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    await asyncio.gather(*(trader.place(order(account_id)) for _ in range(5)))
    admin = await world.database.connect("postgres")
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_write'"
    )
    answers = [await trader.place(order(account_id)) for _ in range(3)]
    assert {answer.status_code for answer in answers} <= {201, 503}
    assert answers[-1].status_code == 201


async def test_without_postgres_every_write_is_503_with_retry_after(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    admin = await world.database.connect("postgres")
    query = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'app_write'"
    limit = await admin.fetchval(query)
    await admin.execute("ALTER ROLE app_write CONNECTION LIMIT 0")
    try:
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_write'"
        )
        key = new_id()
        answer = await trader.place(order(account_id), key)
        assert (answer.status_code, code(answer)) == (503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        ready = await world.client().get("/api/health/ready")
        assert ready.status_code == 503
    finally:
        await admin.execute(f"ALTER ROLE app_write CONNECTION LIMIT {limit}")

    async def placed() -> bool:
        return (await trader.place(order(account_id), key)).status_code == 201

    # A pooler that was refused asks again only after a second.
    await until(placed)


async def test_an_absent_postgres_is_503_and_the_process_lives(open_api: OpenApi) -> None:
    async with open_api(database_port=free_port()) as world:
        client = world.client()
        assert (await client.get("/api/health/live")).status_code == 200
        answer = await client.get("/api/health/ready")
        assert (answer.status_code, code(answer)) == (503, "database_unavailable")


async def test_a_full_pool_is_503_within_two_seconds(open_api: OpenApi) -> None:
    settings = {"database_pool_size": 1, "database_acquire_timeout_s": 0.2}
    async with open_api(api_role="api", **settings) as world:
        pool = world.app.state.database
        async with pool.transaction(), pool.transaction():
            async with asyncio.timeout(2):
                answer = await world.client().get("/api/health/ready")
        assert (answer.status_code, code(answer)) == (503, "database_busy")
        assert (await world.client().get("/api/health/ready")).status_code == 200


async def test_a_database_that_does_not_answer_is_503(world: World, trader: Person) -> None:
    account_id = await world.account(trader)
    blocker = await world.database.connect("postgres")
    await blocker.execute("BEGIN; LOCK TABLE app.orders IN ACCESS EXCLUSIVE MODE")
    async with asyncio.timeout(15):
        answer = await trader.place(order(account_id))
    assert answer.status_code == 503, answer.text
    assert code(answer) in ("database_unavailable", "database_contention")
    await blocker.execute("ROLLBACK")
    assert (await trader.place(order(account_id))).status_code == 201


async def test_procedures_may_be_laid_anew_under_a_running_process(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    assert (await trader.place(order(account_id))).status_code == 201
    admin = await world.database.connect("postgres")
    [found] = await admin.fetch(
        """SELECT oid::regprocedure AS name, pg_get_functiondef(oid) AS definition
           FROM pg_proc WHERE proname = 'sp_place_order'"""
    )
    async with admin.transaction():
        await admin.execute(f"DROP FUNCTION {found['name']}")
        await admin.execute(found["definition"])
        await admin.execute(f"ALTER FUNCTION {found['name']} OWNER TO app_owner")
        await admin.execute(f"GRANT EXECUTE ON FUNCTION {found['name']} TO app_write")
    answer = await trader.place(order(account_id))
    assert answer.status_code == 201, answer.text


async def test_a_mistake_of_ours_is_a_problem_without_a_trace(
    capsys: pytest.CaptureFixture[str], world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    admin = await world.database.connect("postgres")
    await admin.execute("ALTER TABLE app.orders RENAME TO orders_gone")
    answer = await trader.place(order(account_id))
    assert (answer.status_code, code(answer)) == (500, "internal_error")
    assert "orders_gone" not in answer.text
    assert "app.orders" not in answer.text
    assert '"event": "unexpected_error"' in capsys.readouterr().out


@pytest.mark.parametrize(("role", "gone"), [("hot", "/api/orders"), ("api", "/api/lmdb/quotes/X")])
async def test_a_role_serves_its_own_routes_only(open_api: OpenApi, role: str, gone: str) -> None:
    async with open_api(api_role=role) as world:
        client = world.client()
        answer = await client.request("PUT" if "lmdb" in gone else "POST", gone, json={})
        assert (answer.status_code, code(answer)) == (404, "not_found")
        assert (await client.get("/api/health/live")).status_code == 200
