"""Administrators set master data through the API's role; nobody else does, and all is audited."""

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from fixtures_postgres import make_user
from sp_calls import code_of
from sp_world import World, desk

__all__ = ["desk"]

FORMS = {
    "account": "'Growth', 'USD', 'ib', 'DU1', TRUE, 'Interactive Brokers'",
    "instrument": "'IBM', 'IBM', 'USD', 0.01, 1, TRUE, 1",
    "strategy": "{account}, 'momentum'",
    "member": "{account}, '{user}', FALSE",
    "limits": "{account}, NULL, NULL, NULL, 77, NULL, 5, NULL, 1.5",
    "allow_list": "{account}, ARRAY['AAPL']",
    "cash": "{account}, 'USD', 5, 'deposit', 'x'",
    "user_rate": "'{user}', 12",
}
LAST = "SELECT * FROM audit.audit_log ORDER BY epoch_us DESC LIMIT 1"


def call(desk: World, form: str, request_id: str = "req-1", session: str = "s") -> str:
    """Return the call of a form, whose one argument is the caller."""
    more = FORMS[form].format(account=desk.account, user=desk.trader)
    return f"SELECT app.sp_admin_{form}($1, '{session}', '{request_id}', {more})"


async def ask(desk: World, user_id: UUID, form: str) -> Any:
    """Call a form."""
    return await desk.api.fetchval(call(desk, form), user_id)


@pytest.mark.parametrize("form", FORMS)
async def test_an_administrator_sets_it_once_and_is_named_in_the_audit(
    desk: World, form: str
) -> None:
    admin = await make_user(desk.migrate, "admin")
    await ask(desk, admin, form)
    entry = await desk.root.fetchrow(LAST)
    assert entry["actor"] == f"user:{admin}"
    assert json.loads(entry["detail"])["request_id"] == "req-1"
    await ask(desk, admin, form)
    assert (await desk.root.fetchrow(LAST))["hash"] == entry["hash"], "the second changed nothing"


@pytest.mark.parametrize("form", FORMS)
async def test_whoever_is_no_administrator_is_refused(desk: World, form: str) -> None:
    viewer = await make_user(desk.migrate, "viewer")
    admin = await make_user(desk.migrate, "admin")
    for user_id in (desk.trader, viewer):
        refusal = await code_of(desk.api, call(desk, form), user_id)
        assert refusal == ("IN403", "role_not_allowed")
    refusal = await code_of(desk.api, call(desk, form, request_id=""), admin)
    assert refusal == ("IN422", "request_id_invalid")
    assert (await code_of(desk.api, call(desk, form), None))[0] == "IN401"
    await desk.api.execute("SELECT app.sp_session_revoked('t', $1, 'gone')", admin)
    refusal = await code_of(desk.api, call(desk, form, session="gone"), admin)
    assert refusal == ("IN401", "session_revoked")
    for role in ("app_worker", "app_read"):
        connection = await desk.database.connect(role)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(call(desk, form), admin)


async def test_the_forms_of_the_command_line_are_closed_to_the_api(desk: World) -> None:
    for query in (
        "SELECT app.sp_allow_list_set('x', 1, '{}')",
        "SELECT app.sp_user_rate_set('x', NULL, 1)",
        "SELECT app.sp_trading_state_force('x', 'global', 0, 'halted', 'x')",
        "SELECT app.sp_risk_limits_set('x', 1, 1, 1, 0.1)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await desk.api.execute(query)


async def test_limits_that_are_not_named_stay(desk: World) -> None:
    admin = await make_user(desk.migrate, "admin")
    query = "SELECT * FROM app.risk_limits WHERE account_id = $1"
    before = dict(await desk.root.fetchrow(query, desk.account))
    await ask(desk, admin, "limits")
    after = dict(await desk.root.fetchrow(query, desk.account))
    changed = {name: after[name] for name in after if after[name] != before[name]}
    del changed["updated_at"]
    assert changed == {
        "position_quantity_max": 77,
        "orders_per_minute_max": 5,
        "leverage_max": Decimal("1.5"),
    }
