"""POST /api/session/db-token: what the UI reads with, for five minutes and for one user."""

import time
from datetime import UTC, datetime

import asyncpg
from api_world import MakePerson, OpenApi, Person, World, code, order
from free_ports import free_port
from read_tokens import read

from app.core.token_keys import key_id_of

PATH = "/api/session/db-token"
ORDERS = "SELECT client_order_id FROM reporting.orders"


async def token_of(person: Person) -> str:
    """Ask for a token as the UI does."""
    answer = await person.client.post(PATH)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


async def test_the_database_believes_the_token_and_shows_the_users_accounts(
    world: World, trader: Person, make_person: MakePerson
) -> None:
    stranger, admin = await make_person("trader"), await make_person("admin")
    account_id = await world.account(trader)
    placed = (await trader.place(order(account_id))).json()["client_order_id"]
    seen = {
        name: [row[0] for row in await read(world.database, await token_of(person), ORDERS)]
        for name, person in {"trader": trader, "stranger": stranger, "admin": admin}.items()
    }
    assert seen == {"trader": [placed], "stranger": [], "admin": [placed]}


async def test_a_token_ends_after_five_minutes(world: World, trader: Person) -> None:
    answer = await trader.client.post(PATH)
    body = answer.json()
    key_id, user_id, expires, signature = body["token"].split(".")
    assert (key_id, user_id, len(signature)) == (
        key_id_of(world.secret("db_token_key")),
        str(trader.user_id),
        64,
    )
    assert 295 <= int(expires) - time.time() <= 300
    assert datetime.fromisoformat(body["expires_at"]) == datetime.fromtimestamp(int(expires), UTC)
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_changed_token_shows_nothing(
    world: World, trader: Person, make_person: MakePerson
) -> None:
    admin = await make_person("admin")
    account_id = await world.account(trader)
    await trader.place(order(account_id))
    token = await token_of(trader)
    key_id, user_id, expires, signature = token.split(".")
    for forged in (
        f"{key_id}.{admin.user_id}.{expires}.{signature}",
        f"{key_id}.{user_id}.{int(expires) + 1}.{signature}",
        f"{key_id}.{user_id}.{expires}.{'0' * 64}",
    ):
        assert await read(world.database, forged, ORDERS) == []
    assert len(await read(world.database, token, ORDERS)) == 1


async def test_a_revoked_session_gets_none_at_once(world: World, trader: Person) -> None:
    # Asked just before: an answer that was remembered would let it pass.
    assert (await trader.client.get("/api/session")).status_code == 200
    await token_of(trader)
    connection = await world.database.connect("app_write")
    await connection.execute(
        "SELECT app.sp_session_revoked('system:test', $1, $2)",
        trader.user_id,
        trader.session.session_handle,
    )
    answer = await trader.client.post(PATH)
    assert (answer.status_code, code(answer)) == (401, "session_revoked")


async def test_a_disabled_user_gets_none_and_his_token_shows_nothing(
    world: World, trader: Person
) -> None:
    account_id = await world.account(trader)
    await trader.place(order(account_id))
    token = await token_of(trader)
    await disable(world.migrate, trader)
    answer = await trader.client.post(PATH)
    assert (answer.status_code, code(answer)) == (401, "session_revoked")
    assert await read(world.database, token, ORDERS) == []


async def disable(migrate: asyncpg.Connection, person: Person) -> None:
    """Disable a user."""
    upsert = "SELECT app.sp_user_upsert('system:test', $1, $2, 'trader', TRUE)"
    await migrate.execute(upsert, person.user_id, person.email)


async def test_without_a_session_or_from_another_page_there_is_none(
    world: World, trader: Person
) -> None:
    stranger = await world.client().post(PATH)
    assert (stranger.status_code, code(stranger)) == (401, "session_required")
    del trader.client.headers["rid"]
    answer = await trader.client.post(PATH)
    assert (answer.status_code, code(answer)) == (403, "csrf_rejected")


async def test_without_a_database_nothing_is_signed(
    open_api: OpenApi, make_person: MakePerson
) -> None:
    trader = await make_person("trader")
    cookies = trader.session.cookies
    async with open_api(database_port=free_port(), api_role="api") as elsewhere:
        client = elsewhere.client()
        client.cookies.set("sAccessToken", cookies["sAccessToken"], domain="localhost.local")
        answer = await client.post(PATH)
        assert (answer.status_code, code(answer)) == (503, "database_unavailable")
