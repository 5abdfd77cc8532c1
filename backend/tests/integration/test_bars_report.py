"""What is missing, what is there twice, and what a roll-up makes of minutes."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from api_world import MakePerson, Person, World, code
from fixtures_postgres import make_instrument
from series_kit import Row, Sender, bar, counts, stored
from sp_calls import code_of

from app.services.exchange_hours import bar_spans, sessions

# A full session in New York's summer time: 13:30 to 20:00 UTC.
MONDAY = datetime(2025, 6, 2, 13, 30, tzinfo=UTC)
ROLL_UP = "SELECT app.sp_rollup('2025-06-02', '2025-06-03')"


@pytest.fixture
async def admin(world: World, make_person: MakePerson) -> Person:
    """An administrator, in a world that knows AAPL."""
    await make_instrument(world.migrate, "AAPL")
    return await make_person("admin")


def minutes(numbers: Sequence[int], start: datetime = MONDAY, **changes: Any) -> list[Row]:
    """Return bars of these minutes after a moment."""
    moments = [(start + timedelta(minutes=number)).isoformat() for number in numbers]
    return [bar(bar_at=moment, **changes) for moment in moments]


def days(*dates: str) -> list[Row]:
    return [bar(resolution="1d", bar_at=f"{it}T00:00:00Z") for it in dates]


async def report(person: Person, resolution: str, first: str, last: str) -> dict[str, Any]:
    """Ask for the gaps of AAPL."""
    answer = await person.client.get(
        "/api/data/bars/gaps",
        params={"symbol": "AAPL", "resolution": resolution, "from": first, "to": last},
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def gap(first: str, last: str, bars: int) -> dict[str, Any]:
    return {"first_at": f"{first}:00+00:00", "last_at": f"{last}:00+00:00", "bars": bars}


async def test_days_are_missed_by_the_calendar_of_the_exchange(world: World, admin: Person) -> None:
    # The fourth of July 2025 is a Friday; the fifth and sixth are a weekend.
    await Sender(world).bars(*days("2025-07-01", "2025-07-03", "2025-07-09"))
    found = await report(admin, "1d", "2025-06-30", "2025-07-09")
    assert (found["sessions"], found["expected"], found["present"]) == (7, 7, 3)
    assert found["missing"] == [
        gap("2025-06-30T00:00", "2025-06-30T00:00", 1),
        gap("2025-07-02T00:00", "2025-07-02T00:00", 1),
        gap("2025-07-07T00:00", "2025-07-08T00:00", 2),
    ]
    # A holiday is no gap.
    assert (await report(admin, "1d", "2025-07-04", "2025-07-06"))["expected"] == 0


async def test_minutes_and_hours_are_missed_inside_sessions_only(
    world: World, admin: Person
) -> None:
    there = [number for number in range(390) if number not in (0, 1, 200)]
    assert counts(await Sender(world).bars(*minutes(there)))[1] == 387
    found = await report(admin, "1m", "2025-06-02", "2025-06-02")
    assert (found["expected"], found["present"]) == (390, 387)
    assert found["missing"] == [
        gap("2025-06-02T13:30", "2025-06-02T13:31", 2),
        gap("2025-06-02T16:50", "2025-06-02T16:50", 1),
    ]
    hours = await report(admin, "1h", "2025-06-02", "2025-06-02")
    assert (hours["expected"], hours["missing"]) == (
        7,
        [gap("2025-06-02T13:00", "2025-06-02T19:00", 7)],
    )


async def test_two_bars_of_a_source_in_one_slot_are_duplicates(world: World, admin: Person) -> None:
    await Sender(world).bars(*minutes([0]))
    superuser = await world.database.connect("postgres")
    await superuser.execute(
        "INSERT INTO market.bars SELECT instrument_id, resolution, bar_at + interval '30 s', open,"
        " high, low, close, volume, source FROM market.bars"
    )
    found = await report(admin, "1m", "2025-06-02", "2025-06-02")
    assert found["duplicates"] == [
        {"source": "vendor", "bar_at": "2025-06-02T13:30:00+00:00", "bars": 2}
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"symbol": "NOPE"}, "instrument_not_found"),
        ({"symbol": "'; DROP"}, "validation_failed"),
        ({"resolution": "5m"}, "validation_failed"),
        ({"to": "2025-05-01"}, "span_invalid"),
        ({"to": "2026-06-02"}, "span_invalid"),
        ({"from": "yesterday"}, "validation_failed"),
        ({"from": "0001-01-01"}, "span_invalid"),
        ({"from": None}, "validation_failed"),
    ],
)
async def test_a_question_without_sense_is_refused(
    admin: Person, change: dict[str, Any], expected: str
) -> None:
    asked = {"symbol": "AAPL", "resolution": "1m", "from": "2025-06-02", "to": "2025-06-03"}
    asked = {name: it for name, it in {**asked, **change}.items() if it is not None}
    answer = await admin.client.get("/api/data/bars/gaps", params=asked)
    assert (answer.status_code, code(answer)) == (422, expected)


def test_sessions_know_half_days_summer_time_and_storms() -> None:
    half = list(sessions(date(2024, 11, 29), date(2024, 11, 29)))
    assert [end.astimezone(UTC).hour for _, _, end in half] == [18]
    [[_, summer, _], *_] = sessions(date(2025, 6, 2), date(2025, 6, 3))
    [[_, winter, _]] = sessions(date(2025, 1, 2), date(2025, 1, 2))
    assert (summer.astimezone(UTC).hour, winter.astimezone(UTC).hour) == (13, 14)
    assert list(bar_spans("1m", date(2012, 10, 29), date(2012, 10, 30))) == []


# --- roll-ups -------------------------------------------------------------------------------------


async def test_minutes_become_hours_and_hours_days_once(world: World, admin: Person) -> None:
    sender = Sender(world)
    rows = minutes(range(45))
    rows[0]["open"], rows[3]["high"], rows[40]["low"], rows[44]["close"] = "10.6", "99", "1", "10.9"
    await sender.bars(*rows)
    # 13:30 to 14:15: two hours and a day.
    assert await world.migrate.fetchval(ROLL_UP) == 3
    assert await world.migrate.fetchval(ROLL_UP) == 0
    day, first, second, *_ = await stored(world)
    assert tuple(day.values()) == (
        "1d",
        datetime(2025, 6, 2, tzinfo=UTC),
        *(Decimal(it) for it in ("10.6", "99", "1", "10.9", "54000")),
        "rollup",
    )
    assert [first["bar_at"].hour, first["volume"], first["close"]] == [13, 36000, Decimal("10.25")]
    assert [second["bar_at"].hour, second["volume"], second["low"]] == [14, 18000, 1]


async def test_a_roll_up_follows_corrections_and_leaves_what_was_delivered(
    world: World, admin: Person
) -> None:
    sender = Sender(world)
    [delivered] = days("2025-06-02")
    await sender.bars(*minutes([0, 1]), {**delivered, "close": "10.4"})
    assert await world.migrate.fetchval(ROLL_UP) == 1
    await sender.bars(*minutes([1], close="10.8"))
    assert await world.migrate.fetchval(ROLL_UP) == 1
    day, hour, *_ = await stored(world)
    assert (day["close"], day["source"]) == (Decimal("10.4"), "vendor")
    assert (hour["close"], hour["source"]) == (Decimal("10.8"), "rollup")
    # A delivered bar takes the place of one that was only made.
    [better] = minutes([-30], resolution="1h", close="10.7")
    assert counts(await sender.bars(better, source="other")) == (1, 0, 0, 1)
    assert await world.migrate.fetchval(ROLL_UP) == 0


async def test_a_span_that_is_none_is_refused(world: World) -> None:
    for span in ("'2025-06-03', '2025-06-02'", "NULL, now()"):
        refusal = await code_of(world.migrate, f"SELECT app.sp_rollup({span})")
        assert refusal == ("IN422", "span_invalid")
