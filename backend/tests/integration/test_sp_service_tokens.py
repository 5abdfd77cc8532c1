"""The procedures ask after a service token themselves, in the transaction of the write."""

import asyncio

import asyncpg
import pytest
from api_world import MakePerson, Person, World, code, order, until
from read_tokens import read, sign
from token_kit import make_program, revoke


@pytest.fixture
async def admin(make_person: MakePerson) -> Person:
    """A signed-in administrator."""
    return await make_person("admin")


PROCEDURES = {
    "sp_place_order": "SELECT app.sp_place_order($1, $2, 'r', 'k', $3, 'AAPL', 'buy', 'limit', 1,"
    " 20, NULL, 'day', NULL, NULL)",
    "sp_place_orders": "SELECT app.sp_place_orders($1, $2, 'r', jsonb_build_array("
    "jsonb_build_object('client_order_id', 'k', 'account_id', $3::bigint::text, 'symbol', 'AAPL',"
    " 'side', 'buy', 'order_type', 'limit', 'quantity', '1', 'limit_price', '20',"
    " 'time_in_force', 'day')))",
    "sp_cancel_all": "SELECT app.sp_cancel_all($1, $2, 'r', 'k', $3)",
    "sp_cancel_order": "SELECT app.sp_cancel_order($1, $2, 'r', 'k', $3)",
    "sp_replace_order": "SELECT app.sp_replace_order($1, $2, 'r', 'k', $3, 5, NULL, NULL)",
    "sp_order_status": "SELECT app.sp_order_status($1, $2, 'k' || $3::bigint)",
    "sp_preview_order": "SELECT app.sp_preview_order($1, $2, $3, 'AAPL', 'buy', 'limit', 1, 20,"
    " NULL, 'day', NULL, NULL)",
}


async def refusal(
    connection: asyncpg.Connection, query: str, user: object, session: str, account_id: int
) -> tuple[str, str]:
    """Return with what a procedure refuses."""
    with pytest.raises(asyncpg.PostgresError) as refused:
        await connection.execute(query, user, session, account_id)
    return str(refused.value.sqlstate), str(refused.value.detail)


@pytest.mark.parametrize("name", PROCEDURES)
async def test_the_procedure_itself_asks_after_the_token(
    world: World, admin: Person, trader: Person, name: str
) -> None:
    """What the API saw a moment ago does not count: the write's own transaction asks."""
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, "data:read", accounts=[account_id])
    connection = await world.database.connect("app_write")
    session, query, user = f"token:{program.token_id}", PROCEDURES[name], trader.user_id
    invalid = ("IN401", "service_token_invalid")
    assert await refusal(connection, query, user, session, account_id) == (
        "IN403", "scope_not_allowed"
    )  # fmt: skip
    for odd in ("token:", "token:0", "token:x", "token:999", f"{session} ", "token:" + "9" * 30):
        assert await refusal(connection, query, user, odd, account_id) == invalid
    assert await refusal(connection, query, admin.user_id, session, account_id) == invalid
    await revoke(admin, program)
    assert await refusal(connection, query, user, session, account_id) == (
        "IN401", "service_token_revoked"
    )  # fmt: skip


async def test_a_revocation_that_waits_for_the_account_is_seen_behind_the_lock(
    world: World, admin: Person, trader: Person
) -> None:
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, "orders:write", accounts=[account_id])
    holder = await world.database.connect("postgres")
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute(
        "SELECT FROM app.streams WHERE stream_id = $1 FOR NO KEY UPDATE", account_id
    )
    placing = asyncio.create_task(program.place(order(account_id)))
    watch = await world.database.connect("postgres")

    async def waits() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(await watch.fetchval(query))

    await until(waits)
    await revoke(admin, program)
    await transaction.commit()
    answer = await placing
    assert (answer.status_code, code(answer)) == (401, "service_token_revoked")
    assert not await world.rows("SELECT 1 FROM app.orders")


async def test_the_way_of_an_order_names_the_user_and_the_token_that_placed_it(
    world: World, admin: Person, trader: Person
) -> None:
    account_id = await world.account(trader)
    program = await make_program(world, admin, trader, "orders:write", accounts=[account_id])
    placed = await program.place(order(account_id))
    assert placed.status_code == 201, placed.text
    token = sign(world.database.settings.secret("db_token_key"), trader.user_id)
    query = "SELECT kind, source FROM reporting.order_timeline($1) WHERE origin = 'audit'"
    rows = await read(world.database, token, query, int(placed.json()["order_id"]))
    named = {row["kind"]: row["source"] for row in rows}
    assert named["order.place"] == f"{trader.email} token:{program.token_id}"
