"""When the exchange trades: laid once, corrected when it changes, and read as a clock."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import asyncpg
import pytest
from fixtures_postgres import Database, make_user
from read_tokens import read, sign
from sp_calls import audited, code_of

from app.admin.__main__ import main
from app.core.settings import load_settings
from app.services.db import Database as OurDatabase
from app.services.db import create_engine
from app.services.exchange_hours import calendar_around, calendar_of
from worker.calendar import CalendarKeeper

PUT = "SELECT app.sp_calendar_put($1, $2, $3, $4, $5, $6, $7, $8)"
CLOCK = (
    "SELECT is_open, session_date, early_close, opens_at, closes_at, changes_at"
    " FROM reporting.market_clock(%s)"
)


@pytest.fixture
async def migrate(database: Database) -> asyncpg.Connection:
    """A database that knows the sessions of 2025 and 2026."""
    connection = await database.connect("app_migrate")
    calendar = calendar_of(2025, 2026)
    changed = await connection.fetchval(PUT, "system:test", *calendar.arguments())
    assert changed == len(calendar.days) == 501
    return connection


async def clock(database: Database, moment: str) -> asyncpg.Record:
    """Read the clock of a moment as a signed-in viewer."""
    owner = await database.connect("app_migrate")
    viewer = await make_user(owner, "viewer")
    token = sign(database.settings.secret("db_token_key"), viewer)
    query = CLOCK.replace("%s", f"timestamptz '{moment}'")
    [row] = await read(database, token, query)
    return row


@pytest.mark.parametrize(
    ("moment", "is_open", "changes_at"),
    [
        # Winter: New York is five hours behind.
        ("2026-01-05 14:29:59.999999+00", False, "2026-01-05 14:30"),
        ("2026-01-05 14:30+00", True, "2026-01-05 21:00"),
        ("2026-01-05 20:59:59.999999+00", True, "2026-01-05 21:00"),
        ("2026-01-05 21:00+00", False, "2026-01-06 14:30"),
        # Summer: four. The clocks went forward in New York on 8 March, in Berlin not yet.
        ("2026-03-06 22:00+00", False, "2026-03-09 13:30"),
        ("2026-03-09 13:30+00", True, "2026-03-09 20:00"),
        ("2026-03-09 14:30+01", True, "2026-03-09 20:00"),
        ("2026-10-30 20:00+00", False, "2026-11-02 14:30"),
        # A weekend, a holiday on a Friday, and both behind each other.
        ("2026-01-03 15:00+00", False, "2026-01-05 14:30"),
        ("2026-04-03 15:00+00", False, "2026-04-06 13:30"),
        ("2026-07-02 20:00+00", False, "2026-07-06 13:30"),
        # Thanksgiving, and the half day behind it.
        ("2026-11-26 15:00+00", False, "2026-11-27 14:30"),
        ("2026-11-27 17:59:59+00", True, "2026-11-27 18:00"),
        ("2026-11-27 18:00+00", False, "2026-11-30 14:30"),
        ("2026-12-24 17:00+00", True, "2026-12-24 18:00"),
        # The state funeral of 9 January 2025.
        ("2025-01-09 15:00+00", False, "2025-01-10 14:30"),
    ],
)
async def test_the_clock_knows_seasons_half_days_and_holidays(
    migrate: asyncpg.Connection, database: Database, moment: str, is_open: bool, changes_at: str
) -> None:
    row = await clock(database, moment)
    assert (row["is_open"], row["changes_at"]) == (
        is_open, datetime.fromisoformat(f"{changes_at}+00:00"),
    )  # fmt: skip
    assert row["early_close"] is (row["closes_at"].hour == 18)


@pytest.mark.parametrize("moment", ["2026-12-31 21:00+00", "2030-01-01 00:00+00", "2024-12-31+00"])
async def test_beyond_the_calendar_nothing_is_claimed(
    migrate: asyncpg.Connection, database: Database, moment: str
) -> None:
    assert set((await clock(database, moment)).values()) == {None}


async def test_nobody_without_a_token_reads_it(
    migrate: asyncpg.Connection, database: Database
) -> None:
    for query in ("SELECT * FROM reporting.market_calendar", CLOCK.replace("%s", "now()")):
        assert await read(database, None, query) == []
    reader = await database.connect("app_read")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.execute("SELECT * FROM market.calendar")


async def test_the_same_again_changes_nothing_and_a_closed_day_is_taken_out(
    migrate: asyncpg.Connection, database: Database
) -> None:
    again = calendar_of(2025, 2026)
    assert await migrate.fetchval(PUT, "system:test", *again.arguments()) == 0
    assert (await audited(database, 0)).count("calendar.put") == 1
    # Announced: closed on 5 January, and the 6th ends early.
    monday, tuesday = (again.days.index(date(2026, 1, day)) for day in (5, 6))
    again.closes_at[tuesday] -= timedelta(hours=3)
    again.early[tuesday] = True
    for column in (again.days, again.opens_at, again.closes_at, again.early):
        del column[monday]
    assert await migrate.fetchval(PUT, "system:test", *again.arguments()) == 2
    row = await clock(database, "2026-01-05 15:00+00")
    assert (row["is_open"], row["session_date"], row["early_close"]) == (
        False, date(2026, 1, 6), True,
    )  # fmt: skip
    # What lies outside the span that was told stays.
    only = calendar_of(2026, 2026)
    await migrate.fetchval(PUT, "system:test", *only.arguments())
    assert (await clock(database, "2025-06-02 15:00+00"))["is_open"]


DAY, OPEN, CLOSE = (
    date(2026, 1, 5), datetime(2026, 1, 5, 14, 30, tzinfo=UTC), datetime(2026, 1, 5, 21, tzinfo=UTC)
)  # fmt: skip
GOOD = ("XNYS", DAY, DAY, [DAY], [OPEN], [CLOSE], [False])


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        (0, None, "exchange_invalid"),
        (0, "nyse", "exchange_invalid"),
        (0, "X" * 10_000, "exchange_invalid"),
        (1, None, "calendar_invalid"),
        (1, date(2026, 1, 6), "calendar_invalid"),
        (1, date(1990, 1, 1), "calendar_invalid"),
        (2, None, "calendar_invalid"),
        (3, None, "calendar_invalid"),
        (3, [None], "calendar_invalid"),
        (3, [date(2026, 1, 6)], "calendar_invalid"),
        (3, [DAY, DAY], "calendar_invalid"),
        (4, [CLOSE], "calendar_invalid"),
        (4, [OPEN - timedelta(days=2)], "calendar_invalid"),
        (4, [OPEN, OPEN], "calendar_invalid"),
        (5, [CLOSE + timedelta(days=9)], "calendar_invalid"),
        (5, [None], "calendar_invalid"),
        (6, [], "calendar_invalid"),
    ],
)
async def test_a_calendar_that_is_none_is_refused(
    migrate: asyncpg.Connection, place: int, value: Any, code: str
) -> None:
    arguments: list[Any] = [*GOOD]
    arguments[place] = value
    assert await code_of(migrate, PUT, "system:test", *arguments) == ("IN422", code)
    assert await migrate.fetchval(PUT, "system:test", *GOOD) == 0


async def test_the_worker_fills_it_once_and_only_while_it_leads(database: Database) -> None:
    settings = load_settings(
        app_env="test",
        secrets_dir=database.cluster.secrets_dir,
        database_host=database.host,
        database_port=database.port_for("app_worker"),
        database_name=database.name,
    )
    worker = OurDatabase(create_engine(settings, "app_worker"))
    lanes: Any = Lanes(may_send=True, shards=[1])
    keeper = CalendarKeeper(worker, lanes)
    superuser = await database.connect("postgres")
    count = "SELECT count(*) FROM market.calendar"
    try:
        await keeper.step()
        assert await superuser.fetchval(count) == 0
        lanes.shards.append(0)
        for _ in range(2):
            await keeper.step()
    finally:
        await worker.close()
    days = len(calendar_around(datetime.now(UTC).date()).days)
    assert await superuser.fetchval(count) == days
    assert (await audited(database, 0)).count("calendar.put") == 1


class Lanes:
    """Which shards a worker owns, as far as who leads depends on it."""

    def __init__(self, *, may_send: bool, shards: list[int]) -> None:
        self.may_send = may_send
        self.shards = shards


def test_an_operator_fills_it_from_the_command_line(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (
        ("SECRETS_DIR", str(database.cluster.secrets_dir)),
        ("DATABASE_HOST", database.host),
        ("DATABASE_PORT", str(database.port_for("app_migrate"))),
        ("DATABASE_NAME", database.name),
    ):
        monkeypatch.setenv(name, value)
    out = StringIO()
    assert main(["calendar", "fill", "2026"], out=out) == 0
    assert out.getvalue().split() == [
        *("exchange", "from", "to", "sessions", "changed"),
        *("XNYS", "2026-01-01", "2026-12-31", "251", "251"),
    ]
    assert main(["calendar", "fill", "2026", "2025"]) == 1
    assert "at most 20 years" in capsys.readouterr().err
