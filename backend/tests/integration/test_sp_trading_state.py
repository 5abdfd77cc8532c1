"""Who may halt trading and who may resume it: for an account, a strategy, everyone."""

from uuid import UUID, uuid4

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_user
from sp_calls import audited, code_of, migrate, write

__all__ = ["migrate", "write"]

SET_STATE = "SELECT app.sp_trading_state_set($1, 's', 'req', $2, $3, $4, 'because')"


async def test_a_trader_halts_his_account_and_only_an_admin_resumes_it(
    write: asyncpg.Connection, migrate: asyncpg.Connection, database: Database
) -> None:
    trader, admin = await make_user(migrate, "trader"), await make_user(migrate, "admin")
    account_id = await make_account(migrate, {trader: True})

    for _ in range(2):
        state = await write.fetchval(SET_STATE, trader, "account", account_id, "halted")
        assert state == "halted"
    resume = await code_of(write, SET_STATE, trader, "account", account_id, "active")
    assert resume == ("IN403", "role_not_allowed")
    assert await write.fetchval(SET_STATE, admin, "account", account_id, "active") == "active"

    assert (await audited(database, account_id)).count("trading_state.set") == 2


@pytest.mark.parametrize(
    ("who", "switch", "refusal"),
    [
        ("viewer", "account halted", ("IN403", "role_not_allowed")),
        ("trader", "global halted", ("IN403", "role_not_allowed")),
        ("trader", "account reducing", ("IN403", "role_not_allowed")),
        ("onlooker", "account halted", ("IN403", "not_allowed_to_trade")),
        ("stranger", "account halted", ("IN404", "account_not_found")),
        ("stranger", "strategy halted", ("IN404", "strategy_not_found")),
        ("admin", "desk halted", ("IN422", "scope_invalid")),
        ("admin", "global halted", ("IN422", "scope_invalid")),
        ("admin", "account asleep", ("IN422", "state_invalid")),
        ("nobody", "account halted", ("IN401", "user_unknown")),
    ],
)
async def test_a_switch_that_is_not_his_is_refused(
    write: asyncpg.Connection,
    migrate: asyncpg.Connection,
    who: str,
    switch: str,
    refusal: tuple[str, str],
) -> None:
    roles = {"viewer": "viewer", "onlooker": "trader", "admin": "admin"}
    users: dict[str, UUID] = {
        name: await make_user(migrate, roles.get(name, "trader"))
        for name in ("viewer", "trader", "onlooker", "stranger", "admin")
    }
    members = {users["viewer"]: True, users["trader"]: True, users["onlooker"]: False}
    account_id = await make_account(migrate, members)
    user_id = users.get(who) or uuid4()
    scope, state = switch.split()
    assert await code_of(write, SET_STATE, user_id, scope, account_id, state) == refusal


async def test_an_admin_halts_everyone_and_a_strategy(
    write: asyncpg.Connection, migrate: asyncpg.Connection, database: Database
) -> None:
    admin = await make_user(migrate, "admin")
    account_id = await make_account(migrate, {})
    strategy_id = await migrate.fetchval("SELECT app.sp_strategy_upsert('x', $1, 's')", account_id)
    assert await write.fetchval(SET_STATE, admin, "global", 0, "halted") == "halted"
    assert await write.fetchval(SET_STATE, admin, "strategy", strategy_id, "reducing") == "reducing"
    assert (await audited(database, 0))[-1] == "trading_state.set"
    assert (await audited(database, account_id))[-1] == "trading_state.set"
