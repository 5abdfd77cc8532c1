"""Users, accounts, limits, cash and prices: written once, audited when something changed."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest
from fixtures_postgres import Database, make_account, make_instrument, make_user, set_price

ACTOR = "system:test"
NUMBERS_REFUSED = ["0", "-1", "NaN", "Infinity", "1e12", "0.000000001"]


@pytest.fixture
async def migrate(database: Database) -> asyncpg.Connection:
    """A connection that may write master data."""
    return await database.connect("app_migrate")


@pytest.fixture
async def write(database: Database) -> asyncpg.Connection:
    """A connection of the API."""
    return await database.connect("app_write")


async def audited(database: Database, stream_id: int) -> list[str]:
    """Return the actions on a stream, in order."""
    connection = await database.connect("postgres")
    rows = await connection.fetch(
        "SELECT action FROM audit.audit_log WHERE stream_id = $1 ORDER BY seq", stream_id
    )
    return [row["action"] for row in rows]


async def code_of(
    connection: asyncpg.Connection, query: str, *arguments: object
) -> tuple[str, str]:
    """Return SQLSTATE and machine code of the refusal of a call."""
    with pytest.raises(asyncpg.PostgresError) as refusal:
        await connection.fetch(query, *arguments)
    return refusal.value.sqlstate, refusal.value.detail


CALLS: Mapping[str, tuple[str, tuple[object, ...]]] = {
    "instrument": (
        "SELECT app.sp_instrument_upsert($1, 'IBM', 'IBM', 'USD', $2, $3, TRUE)",
        (ACTOR, Decimal("0.01"), Decimal(1)),
    ),
    "account": ("SELECT app.sp_account_upsert($1, 'A', 'USD', 'ib', 'DU1', TRUE)", (ACTOR,)),
    "limits": ("SELECT app.sp_risk_limits_set($1, 1, 9, 9, $2)", (ACTOR, Decimal("0.2"))),
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

    assert await audited(database, 0) == ["user.set"] * 3
    superuser = await database.connect("postgres")
    details = await superuser.fetch("SELECT detail::text FROM audit.audit_log ORDER BY seq")
    assert "x.org" not in " ".join(row["detail"] for row in details)
    assert json.loads(details[1]["detail"])["role_before"] == "viewer"


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
        ("SELECT app.sp_cash_book('x', 1, 'USD', $1, 'deposit', 'r')", "amount_invalid"),
        (
            "SELECT app.sp_instrument_upsert('x', 'A', 'A', 'USD', $1, 1, TRUE)",
            "tick_size_invalid",
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


# --- sessions -------------------------------------------------------------------------------


async def test_a_revoked_session_is_nobodys_at_once(
    write: asyncpg.Connection, migrate: asyncpg.Connection, database: Database
) -> None:
    user_id = await make_user(migrate, "trader")
    check = "SELECT role FROM app.sp_session_check($1, $2)"
    assert await write.fetchval(check, user_id, "s1") == "trader"

    for _ in range(2):
        await write.execute("SELECT app.sp_session_revoked($1, $2, 's1')", ACTOR, user_id)

    assert await write.fetchval(check, user_id, "s1") is None
    assert await write.fetchval(check, user_id, "s2") == "trader"
    assert await write.fetchval(check, uuid4(), "s2") is None
    assert (await audited(database, 0)).count("session.revoke") == 1
    rows = await write.fetch("SELECT * FROM app.sp_sessions_check($1)", ["s1", "s2"])
    assert {row["session_handle"]: row["revoked"] for row in rows} == {"s1": True, "s2": False}


async def test_a_disabled_user_has_no_session(
    write: asyncpg.Connection, migrate: asyncpg.Connection
) -> None:
    user_id = await make_user(migrate, "trader")
    upsert = "SELECT app.sp_user_upsert('x', $1, 'a@x.org', 'trader', TRUE)"
    await migrate.execute(upsert, user_id)
    assert await write.fetch("SELECT * FROM app.sp_session_check($1, 's')", user_id) == []


async def test_a_question_about_too_many_sessions_is_refused(write: asyncpg.Connection) -> None:
    handles = ["s"] * 10_001
    refusal = await code_of(write, "SELECT * FROM app.sp_sessions_check($1)", handles)
    assert refusal == ("IN422", "handles_invalid")


# --- trading state --------------------------------------------------------------------------

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


# --- prices ---------------------------------------------------------------------------------


def quote(price: str, at: datetime, symbol: str = "AAPL", **more: object) -> dict[str, object]:
    """Return a quote as the bridge sends it."""
    return {"symbol": symbol, "price": price, "at": at.isoformat(), **more}


async def record(connection: asyncpg.Connection, *quotes: dict[str, object]) -> int:
    """Record quotes of the replay."""
    query = "SELECT app.sp_record_quotes('replay', $1)"
    written: int = await connection.fetchval(query, json.dumps(quotes))
    return written


async def last_price(connection: asyncpg.Connection) -> Decimal:
    """Return the mark of the only instrument."""
    price: Decimal = await connection.fetchval("SELECT price FROM app.sp_last_prices()")
    return price


async def test_the_mark_never_goes_back_in_time_unless_the_replay_begins_anew(
    write: asyncpg.Connection, migrate: asyncpg.Connection
) -> None:
    await make_instrument(migrate, "AAPL")
    now = datetime.now(UTC)
    assert await record(write, quote("20.5", now)) == 1
    assert await record(write, quote("19", now - timedelta(seconds=9))) == 0
    assert await last_price(write) == Decimal("20.5")
    assert await record(write, quote("19", now - timedelta(seconds=9), reset=True)) == 1
    assert await last_price(write) == Decimal(19)


async def test_the_newest_quote_of_a_batch_wins_and_unknown_symbols_are_left_out(
    write: asyncpg.Connection, migrate: asyncpg.Connection
) -> None:
    await make_instrument(migrate, "AAPL")
    now = datetime.now(UTC)
    older, newer = quote("1", now - timedelta(seconds=2)), quote("2", now)
    assert await record(write, newer, older, quote("3", now, "NOPE")) == 1
    assert await last_price(write) == Decimal(2)


async def test_a_quote_from_the_future_does_not_block_what_follows(
    write: asyncpg.Connection, migrate: asyncpg.Connection
) -> None:
    await make_instrument(migrate, "AAPL")
    await record(write, quote("1", datetime.now(UTC) + timedelta(days=3)))
    assert await record(write, quote("2", datetime.now(UTC) + timedelta(seconds=1))) == 1
    assert await last_price(write) == Decimal(2)


async def test_one_quote_per_instrument_and_five_seconds_is_kept(
    write: asyncpg.Connection, migrate: asyncpg.Connection, database: Database
) -> None:
    await make_instrument(migrate, "AAPL")
    start = datetime.now(UTC) - timedelta(minutes=1)
    for second in range(20):
        await record(write, quote("1", start + timedelta(seconds=second)))
    superuser = await database.connect("postgres")
    assert await superuser.fetchval("SELECT count(*) FROM market.quotes") in (4, 5)


@pytest.mark.parametrize(
    "price", ["0", "0.000", "-1", "NaN", "1e3", "", "01", "1.123456789", "1234567890123", "\u0661"]
)
async def test_a_price_that_is_none_is_refused(write: asyncpg.Connection, price: str) -> None:
    bad = json.dumps([quote(price, datetime.now(UTC))])
    refusal = await code_of(write, "SELECT app.sp_record_quotes('replay', $1)", bad)
    assert refusal == ("IN422", "price_invalid")


@pytest.mark.parametrize(
    ("source", "quotes", "code"),
    [
        ("nobody", "[]", "source_invalid"),
        ("replay", "{}", "quotes_invalid"),
        ("replay", '["x"]', "price_invalid"),
        ("replay", '[{"symbol": "AAPL", "price": "1"}]', "price_invalid"),
        ("replay", '[{"symbol": "AAPL", "price": "1", "at": "now"}]', "price_invalid"),
        ("replay", json.dumps([{}] * 1001), "quotes_invalid"),
    ],
)
async def test_quotes_that_are_none_are_refused(
    write: asyncpg.Connection, source: str, quotes: str, code: str
) -> None:
    query = "SELECT app.sp_record_quotes($1, $2)"
    assert await code_of(write, query, source, quotes) == ("IN422", code)


# --- series ---------------------------------------------------------------------------------


def bar(day: int, close: str = "10", symbol: str = "AAPL") -> dict[str, str]:
    """Return a daily bar."""
    at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day)
    prices = {"open": "10", "high": "20", "low": "5", "close": close, "volume": "1"}
    return {"symbol": symbol, "resolution": "1d", "bar_at": at.isoformat(), **prices}


async def test_bars_are_written_once_and_corrected_when_they_differ(
    migrate: asyncpg.Connection, database: Database
) -> None:
    await make_instrument(migrate, "AAPL")
    put = "SELECT app.sp_bars_put('replay', $1)"
    bars = [bar(day) for day in range(300)]
    assert await migrate.fetchval(put, json.dumps(bars)) == 300
    assert await migrate.fetchval(put, json.dumps(bars)) == 0
    assert await migrate.fetchval(put, json.dumps([bar(4, "11")])) == 1
    assert (await audited(database, 0)).count("bars.put") >= 2


async def test_bars_of_an_unknown_symbol_are_refused(migrate: asyncpg.Connection) -> None:
    refusal = await code_of(
        migrate, "SELECT app.sp_bars_put('replay', $1)", json.dumps([bar(0, symbol="NOPE")])
    )
    assert refusal == ("IN422", "instrument_not_found")


async def test_housekeeping_drops_what_is_old_and_keeps_what_is_not(
    migrate: asyncpg.Connection, database: Database
) -> None:
    await make_instrument(migrate, "AAPL")
    superuser = await database.connect("postgres")
    await superuser.execute(
        "INSERT INTO market.quotes SELECT 1, now() - g * interval '1 day', 1, 'replay'"
        " FROM generate_series(-3, 9) AS g WHERE g <> 0"
    )
    housekeep = "SELECT app.sp_housekeep('5 days', '5 days', '5 days')"
    await migrate.execute(housekeep)
    await set_price(migrate, "AAPL", "1")
    assert await superuser.fetchval("SELECT count(*) FROM market.quotes") == 3 + 4 + 1
    partition = await superuser.fetchval("SELECT max(tableoid::regclass::text) FROM market.quotes")
    assert partition is not None
    await migrate.execute(housekeep)
    refusal = await code_of(migrate, "SELECT app.sp_housekeep('1 hour', '5 days', '5 days')")
    assert refusal == ("IN422", "keep_invalid")


async def test_partitions_that_are_over_are_dropped_whole(database: Database) -> None:
    superuser = await database.connect("postgres")
    made = await superuser.fetchval(
        "SELECT market.ensure_partitions('market.quotes', 'quote_at', '2025-03-01', '2025-03-05',"
        " '1 day')"
    )
    dropped = await superuser.fetchval(
        "SELECT market.drop_before('market.quotes', 'quote_at', '2025-03-03')"
    )
    assert (made, dropped) == (4, 2)
