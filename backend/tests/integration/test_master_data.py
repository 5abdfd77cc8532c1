"""Users, accounts, limits and cash: written once, audited when something changed."""

import json
from collections.abc import Mapping
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest
from fixtures_postgres import Database, make_account
from sp_calls import ACTOR, audited, code_of, migrate

__all__ = ["migrate"]

NUMBERS_REFUSED = ["0", "-1", "NaN", "Infinity", "1e12", "0.000000001"]
CALLS: Mapping[str, tuple[str, tuple[object, ...]]] = {
    "instrument": (
        "SELECT app.sp_instrument_upsert($1, 'IBM', 'IBM', 'USD', $2, $3, TRUE)",
        (ACTOR, Decimal("0.01"), Decimal(1)),
    ),
    "account": ("SELECT app.sp_account_upsert($1, 'A', 'USD', 'ib', 'DU1', TRUE)", (ACTOR,)),
    "limits": ("SELECT app.sp_risk_limits_set($1, 1, 9, 9, $2)", (ACTOR, Decimal("0.2"))),
    "one limit": (
        "SELECT app.sp_risk_limits_set($1, 1, NULL, NULL, NULL, p_leverage_max => $2)",
        (ACTOR, Decimal("1.50")),
    ),
    "allow-list": ("SELECT app.sp_allow_list_set($1, 1, '{}')", (ACTOR,)),
    "cash": ("SELECT app.sp_cash_book($1, 1, 'USD', $2, 'deposit', 'x')", (ACTOR, Decimal("5.5"))),
    "strategy": ("SELECT app.sp_strategy_upsert($1, 1, 'momentum')", (ACTOR,)),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_repeated_changes_nothing(
    database: Database, migrate: asyncpg.Connection, name: str
) -> None:
    assert await make_account(migrate, {}) == 1
    query, arguments = CALLS[name]
    first = await migrate.fetchval(query, *arguments)
    entries = len(await audited(database, 0)), len(await audited(database, 1))

    again = await migrate.fetchval(query, *arguments)

    assert again == (False if name == "cash" else first)
    assert (len(await audited(database, 0)), len(await audited(database, 1))) == entries


async def test_a_user_is_audited_when_something_changed(
    database: Database, migrate: asyncpg.Connection
) -> None:
    user_id = uuid4()
    upsert = "SELECT app.sp_user_upsert($1, $2, $3, $4, $5)"
    for _ in range(2):
        await migrate.execute(upsert, ACTOR, user_id, "Ann@X.org", "viewer", False)
    await migrate.execute(upsert, ACTOR, user_id, "ann@x.org", "trader", False)
    await migrate.execute(upsert, ACTOR, user_id, "ann@x.org", "trader", True)

    # Before it stands what the migration wrote.
    assert (await audited(database, 0))[-3:] == ["user.set"] * 3
    superuser = await database.connect("postgres")
    details = await superuser.fetch("SELECT detail::text FROM audit.audit_log ORDER BY seq")
    assert "x.org" not in " ".join(row["detail"] for row in details)
    assert json.loads(details[-2]["detail"])["role_before"] == "viewer"


@pytest.mark.parametrize(
    ("email", "role", "code"),
    [
        ("ann@x.org", "owner", "role_invalid"),
        ("ann@x.org", None, "role_invalid"),
        ("ann", "viewer", "email_invalid"),
        (None, "viewer", "email_invalid"),
        ("a@b@c", "viewer", "email_invalid"),
        ("bob@x.org", "viewer", "email_taken"),
    ],
)
async def test_an_unusable_user_is_refused(
    migrate: asyncpg.Connection, email: str | None, role: str | None, code: str
) -> None:
    upsert = "SELECT app.sp_user_upsert($1, $2, $3, $4, FALSE)"
    await migrate.execute(upsert, ACTOR, uuid4(), "bob@x.org", "viewer")
    refusal = await code_of(migrate, upsert, ACTOR, uuid4(), email, role)
    assert refusal == ("IN422", code)


@pytest.mark.parametrize("number", NUMBERS_REFUSED)
async def test_numbers_that_no_column_would_refuse_are_refused(
    migrate: asyncpg.Connection, number: str
) -> None:
    await make_account(migrate, {})
    value = Decimal(number)
    for query, code in (
        ("SELECT app.sp_risk_limits_set('x', 1, $1, 1, 0.1)", "order_quantity_max_invalid"),
        ("SELECT app.sp_risk_limits_set('x', 1, 1, $1, 0.1)", "order_notional_max_invalid"),
        ("SELECT app.sp_risk_limits_set('x', 1, 1, 1, $1)", "price_collar_invalid"),
        ("SELECT app.sp_risk_limits_set('x', 1, 1, 1, 0.1, $1)", "position_quantity_max_invalid"),
        (
            "SELECT app.sp_risk_limits_set('x', 1, 1, 1, 0.1, p_daily_loss_max => $1)",
            "daily_loss_max_invalid",
        ),
        (
            "SELECT app.sp_risk_limits_set('x', 1, 1, 1, 0.1, p_leverage_max => $1)",
            "leverage_max_invalid",
        ),
        ("SELECT app.sp_cash_book('x', 1, 'USD', $1, 'deposit', 'r')", "amount_invalid"),
        (
            "SELECT app.sp_instrument_upsert('x', 'A', 'A', 'USD', $1, 1, TRUE)",
            "tick_size_invalid",
        ),
        (
            "SELECT app.sp_instrument_upsert('x', 'A', 'A', 'USD', 1, 1, TRUE, $1)",
            "multiplier_invalid",
        ),
    ):
        assert await code_of(migrate, query, value) == ("IN422", code)


async def test_cash_under_a_known_reference_cannot_change_its_amount(
    migrate: asyncpg.Connection, database: Database
) -> None:
    account_id = await make_account(migrate, {}, cash=None)
    book = "SELECT app.sp_cash_book('x', $1, 'USD', $2, $3, 'r1')"
    assert await migrate.fetchval(book, account_id, Decimal(100), "deposit") is True
    refusal = await code_of(migrate, book, account_id, Decimal(101), "deposit")
    assert refusal == ("IN422", "idempotency_key_reused")
    assert await migrate.fetchval(book, account_id, Decimal(-40), "withdrawal") is True
    superuser = await database.connect("postgres")
    assert await superuser.fetchval("SELECT amount FROM app.cash_balances") == Decimal(60)
    assert (await code_of(migrate, book, account_id, Decimal(5), "withdrawal"))[
        1
    ] == "amount_invalid"


async def test_an_account_keeps_its_identity_and_its_currency(migrate: asyncpg.Connection) -> None:
    upsert = "SELECT app.sp_account_upsert('x', $1, $2, 'quantconnect', $3, TRUE)"
    account_id = await migrate.fetchval(upsert, "Growth", "USD", "1001")
    assert await migrate.fetchval(upsert, "Growth fund", "USD", "1001") == account_id
    assert await code_of(migrate, upsert, "Growth", "EUR", "1001") == ("IN409", "currency_fixed")
    assert await code_of(migrate, upsert, "Growth fund", "USD", "1002") == ("IN422", "name_taken")


async def test_master_data_of_an_unknown_account_is_refused(migrate: asyncpg.Connection) -> None:
    for query in (
        "SELECT app.sp_risk_limits_set('x', 99, 1, 1, 0.1)",
        "SELECT app.sp_cash_book('x', 99, 'USD', 1, 'deposit', 'r')",
        "SELECT app.sp_strategy_upsert('x', 99, 's')",
        "SELECT app.sp_member_set('x', 99, gen_random_uuid(), TRUE)",
    ):
        assert await code_of(migrate, query) == ("IN404", "account_not_found")


async def test_writing_needs_read_committed(migrate: asyncpg.Connection) -> None:
    async with migrate.transaction(isolation="repeatable_read"):
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await migrate.execute("SELECT app.sp_strategy_upsert('x', 1, 's')")
    assert refusal.value.sqlstate == "25001"


async def test_limits_need_their_first_three_and_take_the_others_from_the_table(
    migrate: asyncpg.Connection, database: Database
) -> None:
    account_id = await make_account(migrate, {}, limits=None)
    partial = "SELECT app.sp_risk_limits_set('x', $1, 5, NULL, 0.1)"
    assert await code_of(migrate, partial, account_id) == ("IN422", "order_notional_max_invalid")
    await migrate.execute("SELECT app.sp_risk_limits_set('x', $1, 5, 6, 0.1)", account_id)
    await migrate.execute(partial.replace("5", "7"), account_id)
    superuser = await database.connect("postgres")
    row = await superuser.fetchrow("SELECT * FROM app.risk_limits")
    assert (row["order_quantity_max"], row["order_notional_max"]) == (7, 6)
    assert (row["open_orders_max"], row["leverage_max"]) == (200, 2)


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("sp_risk_limits_set('x', 1, 1, 1, 1)", ("IN422", "price_collar_invalid")),
        ("sp_risk_limits_set('x', 1, 1, 1, .1, p_leverage_max => 100.1)", None),
        ("sp_risk_limits_set('x', 1, 1, 1, .1, p_open_orders_max => 0)", None),
        ("sp_risk_limits_set('x', 1, 1, 1, .1, p_orders_per_minute_max => -1)", None),
        ("sp_allow_list_set('x', 1, NULL)", ("IN422", "symbols_invalid")),
        ("sp_allow_list_set('x', 1, '{NOPE}')", ("IN422", "instrument_not_found")),
        ("sp_allow_list_set('x', 1, ARRAY[NULL])", ("IN422", "instrument_not_found")),
        ("sp_allow_list_set('x', 99, '{}')", ("IN404", "account_not_found")),
        ("sp_user_rate_set('x', gen_random_uuid(), 5)", ("IN404", "user_not_found")),
        ("sp_user_rate_set('x', NULL, 5)", ("IN404", "user_not_found")),
        ("sp_user_rate_set('x', NULL, 0)", ("IN422", "orders_per_minute_max_invalid")),
        ("sp_user_rate_set('x', NULL, NULL)", ("IN422", "orders_per_minute_max_invalid")),
        (
            "sp_account_upsert('x', 'B', 'USD', 'ib', 'DU2', NULL)",
            ("IN422", "paper_invalid"),
        ),
        (
            "sp_account_upsert('x', 'B', 'USD', 'ib', 'DU2', TRUE, '')",
            ("IN422", "broker_invalid"),
        ),
        (
            "sp_instrument_upsert('x', 'A', 'A', 'USD', 1, 1, NULL)",
            ("IN422", "tradable_invalid"),
        ),
    ],
)
async def test_master_data_that_makes_no_sense_is_refused(
    migrate: asyncpg.Connection, query: str, refusal: tuple[str, str] | None
) -> None:
    await make_account(migrate, {})
    if refusal is None:
        name = query.partition(", p_")[2].partition(" ")[0]
        refusal = ("IN422", f"{name}_invalid")
    assert await code_of(migrate, f"SELECT app.{query}") == refusal


async def test_an_instrument_keeps_its_currency_and_its_multiplier(
    migrate: asyncpg.Connection,
) -> None:
    upsert = "SELECT app.sp_instrument_upsert('x', 'A', 'A', $1, 1, 1, TRUE, $2)"
    instrument_id = await migrate.fetchval(upsert, "USD", Decimal(50))
    assert await migrate.fetchval(upsert, "USD", Decimal("50.0")) == instrument_id
    assert await code_of(migrate, upsert, "EUR", Decimal(50)) == ("IN409", "currency_fixed")
    assert await code_of(migrate, upsert, "USD", Decimal(5)) == ("IN409", "multiplier_fixed")


@pytest.mark.parametrize("table", ["accounts", "strategies", "instruments"])
@pytest.mark.parametrize("statement", ["DELETE FROM app.{}", "TRUNCATE app.{} CASCADE"])
async def test_what_orders_name_is_never_removed_even_by_a_superuser(
    database: Database, table: str, statement: str
) -> None:
    root = await database.connect("postgres")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="are never removed"):
        await root.execute(statement.format(table))
