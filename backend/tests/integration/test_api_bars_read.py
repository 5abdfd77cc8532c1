"""Reading history: pages without a gap or a double, in both forms, and what is refused."""

from typing import Any

import httpx
import pyarrow as pa
import pytest
from api_world import MakePerson, Person, World, code
from fixtures_postgres import make_instrument
from series_kit import ARROW, Sender, bar, counts, place

ASKED = {
    "symbol": "AAPL", "resolution": "1m",
    "from": "2025-03-03T00:00:00Z", "until": "2025-03-04T00:00:00Z",
}  # fmt: skip


@pytest.fixture
async def viewer(world: World, make_person: MakePerson) -> Person:
    """Somebody who may only look, and 25 minutes of AAPL."""
    await make_instrument(world.migrate, "AAPL")
    answer = await Sender(world).bars(*(bar(minute) for minute in range(25)))
    assert counts(answer)[1] == 25
    return await make_person("viewer")


async def read(person: Person, *, accept: str = "*/*", **changes: Any) -> httpx.Response:
    asked = {name: value for name, value in (ASKED | changes).items() if value is not None}
    return await person.client.get("/api/data/bars", params=asked, headers={"Accept": accept})


@pytest.mark.parametrize("limit", [1, 7, 24, 25, 26])
async def test_pages_make_the_whole(viewer: Person, limit: int) -> None:
    whole = (await read(viewer)).json()
    assert (len(whole["bars"]), whole["next_from"]) == (25, None)
    pages, start = [], ASKED["from"]
    while start is not None:
        page = (await read(viewer, limit=limit, **{"from": start})).json()
        assert 0 < len(page["bars"]) <= limit
        pages += page["bars"]
        start = page["next_from"]
    assert pages == whole["bars"]
    moments = [one["bar_at"] for one in pages]
    assert moments == sorted(set(moments))


async def test_a_bar_is_read_as_it_was_sent(viewer: Person) -> None:
    [first, *_] = (await read(viewer, limit=1)).json()["bars"]
    sent = bar(0)
    assert first["bar_at"] == sent["bar_at"].replace("Z", ".000000Z")
    for name in ("open", "high", "low", "close", "volume"):
        assert float(first[name]) == float(sent[name])
        assert isinstance(first[name], str)
    assert (first["source"], first["original_date"]) == ("vendor", None)


async def test_the_span_takes_its_beginning_and_not_its_end(viewer: Person) -> None:
    first, second = (one["bar_at"] for one in (await read(viewer, limit=2)).json()["bars"])
    found = (await read(viewer, **{"from": first, "until": second})).json()
    assert [one["bar_at"] for one in found["bars"]] == [first]
    assert (await read(viewer, **{"from": first, "until": first})).json()["bars"] == []


async def test_arrow_says_the_same_and_can_be_sent_back(world: World, viewer: Person) -> None:
    answer = await read(viewer, accept=ARROW, limit=10)
    assert answer.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(answer.content).read_all()
    page = (await read(viewer, limit=10)).json()
    assert answer.headers["Informania-Next-From"] == page["next_from"]
    shown = table.to_pylist()
    assert [f"{row['bar_at']:%Y-%m-%dT%H:%M:%S.%fZ}" for row in shown] == [
        one["bar_at"] for one in page["bars"]
    ]
    assert [row["close"] for row in shown] == [pa.scalar(one["close"]).cast(
        pa.decimal128(38, 8)).as_py() for one in page["bars"]]  # fmt: skip
    back = table.drop_columns(["source", "original_date"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, back.schema) as stream:
        stream.write_table(back)
    again = await Sender(world).send("bars", bytes(sink.getvalue()), ARROW, source="vendor")
    assert counts(again) == (10, 0, 10, 0)


async def test_no_bars_are_an_empty_page_in_both_forms(viewer: Person) -> None:
    late = {"from": "2030-01-01T00:00:00Z", "until": "2030-02-01T00:00:00Z"}
    assert (await read(viewer, **late)).json()["bars"] == []
    answer = await read(viewer, accept=ARROW, **late)
    assert pa.ipc.open_stream(answer.content).read_all().num_rows == 0
    assert "Informania-Next-From" not in answer.headers


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"symbol": None}, "symbol"),
        ({"symbol": "a b"}, "symbol"),
        ({"symbol": "A\x00"}, "symbol"),
        ({"resolution": "5m"}, "resolution"),
        ({"from": None}, "from"),
        ({"from": "2025-03-03"}, "from"),
        ({"from": "NaN"}, "from"),
        ({"until": "2025-03-03T00:00:00"}, "until"),
        ({"until": "infinity"}, "until"),
        ({"limit": 0}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": 10**20}, "limit"),
    ],
)
async def test_an_odd_question_is_refused_by_name(
    viewer: Person, change: dict[str, Any], name: str
) -> None:
    assert place(await read(viewer, **change))[1][:2] == ["query", name]


async def test_an_unknown_symbol_and_a_span_that_ends_first_are_refused(viewer: Person) -> None:
    assert code(await read(viewer, symbol="NOPE")) == "instrument_not_found"
    assert code(await read(viewer, until="2025-03-02T00:00:00Z")) == "span_invalid"


async def test_nobody_reads_without_a_session(world: World, viewer: Person) -> None:
    answer = await world.client().get("/api/data/bars", params=ASKED)
    assert (answer.status_code, code(answer)) == (401, "session_required")
    owner = await world.database.connect("postgres")
    await owner.execute("UPDATE app.users SET disabled = TRUE WHERE user_id = $1", viewer.user_id)
    assert (await read(viewer)).status_code == 401
