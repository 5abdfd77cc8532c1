"""Prices and bars: which ones are taken, which are kept, and for how long."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest
from fixtures_postgres import Database, make_instrument, set_price
from sp_calls import audited, code_of, migrate, write

__all__ = ["migrate", "write"]


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


async def test_each_source_of_prices_says_how_long_it_may_be_silent(database: Database) -> None:
    superuser = await database.connect("postgres")
    rows = await superuser.fetch(
        "SELECT source, app.sp_quote_stale_after(source) AS stale_after"
        " FROM unnest(ARRAY['replay', 'ib', 'quantconnect', 'rumour', NULL]) AS source"
    )
    assert [row["stale_after"] and row["stale_after"].seconds for row in rows] == [
        *(30, 30, 120, None, None),
    ]


# --- series ---------------------------------------------------------------------------------------


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
    # Whole days go, so that of the fifth is still there.
    assert await superuser.fetchval("SELECT count(*) FROM market.quotes") == 3 + 5 + 1
    partition = await superuser.fetchval("SELECT max(tableoid::regclass::text) FROM market.quotes")
    assert partition is not None
    await migrate.execute(housekeep)
    for keeps in ("'1 hour', '5 days', '5 days'", "'5 days', '5 days', '5 days', NULL, '1 hour'"):
        refusal = await code_of(migrate, f"SELECT app.sp_housekeep({keeps})")
        assert refusal == ("IN422", "keep_invalid")


async def test_equity_and_bars_stay_unless_a_policy_drops_them(
    migrate: asyncpg.Connection, database: Database
) -> None:
    await make_instrument(migrate, "AAPL")
    old = {**bar(0), "bar_at": "1995-01-02T00:00:00Z"}
    await migrate.fetchval("SELECT app.sp_bars_put('replay', $1)", json.dumps([old, bar(0)]))
    superuser = await database.connect("postgres")
    count = "SELECT count(*) FROM market.bars"
    await migrate.execute("SELECT app.sp_housekeep('5 days', '5 days', '5 days')")
    assert await superuser.fetchval(count) == 2
    keep = "SELECT app.sp_housekeep('5 days', '5 days', '5 days', '400 days', '7000 days')"
    await migrate.execute(keep)
    assert await superuser.fetchval(count) == 1


async def test_partitions_that_are_over_are_dropped_whole(
    database: Database, migrate: asyncpg.Connection
) -> None:
    await make_instrument(migrate, "AAPL")
    superuser = await database.connect("postgres")
    made = await superuser.fetchval(
        "SELECT market.ensure_partitions('market.quotes', 'quote_at', '2025-03-01', '2025-03-05',"
        " '1 day')"
    )
    await superuser.execute(
        "INSERT INTO market.quotes SELECT 1, day, 1, 'replay'"
        " FROM generate_series(timestamptz '2025-03-01', '2025-03-04', '1 day') AS day"
    )
    dropped = await superuser.fetchval(
        "SELECT market.drop_before('market.quotes', 'quote_at', '2025-03-03')"
    )
    # A hypertable makes its chunks by itself.
    timescale = await superuser.fetchval("SELECT market.has_timescale()")
    assert (made, dropped) == (0 if timescale else 4, 2)
    assert await superuser.fetchval("SELECT count(*) FROM market.quotes") == 2
