"""History by the thousand: what is taken, what a repetition changes, and what is refused."""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from api_world import MakePerson, World, code
from fixtures_postgres import make_instrument
from series_kit import (
    ARROW,
    NDJSON,
    START,
    Row,
    Sender,
    bar,
    counts,
    lines,
    place,
    stored,
    stream,
    written,
)


@pytest.fixture
async def sender(world: World) -> Sender:
    """Our own worker, in a world that knows AAPL."""
    await make_instrument(world.migrate, "AAPL")
    return Sender(world)


def as_json(rows: list[Row]) -> bytes:
    return json.dumps({"bars": rows}).encode()


WAYS = {"application/json": as_json, NDJSON: lines, ARROW: stream}


@pytest.mark.parametrize("media_type", WAYS)
async def test_the_same_rows_again_change_nothing_whatever_way_they_come(
    world: World, sender: Sender, media_type: str
) -> None:
    rows = [bar(minute) for minute in range(300)]
    body = WAYS[media_type](rows)
    assert counts(await sender.send("bars", body, media_type)) == (300, 300, 0, 0)
    for other, write in WAYS.items():
        assert counts(await sender.send("bars", write(rows), other)) == (300, 0, 300, 0)
    found = await stored(world)
    assert len(found) == 300
    assert tuple(found[0].values()) == (
        *("1m", START, Decimal("10.5"), 11, 10, Decimal("10.25"), 1200, "replay"),
    )


async def test_numbers_arrive_as_they_were_written(world: World, sender: Sender) -> None:
    edges = {"open": "0.00000001", "low": "0.00000001", "high": "999999999999.99999999"}
    for write, media_type in ((as_json, "application/json"), (stream, ARROW)):
        row = bar(close="1.10", volume="0", **edges)
        assert (await sender.send("bars", write([row]), media_type)).status_code == 200
        [found] = await stored(world)
        assert [str(found[name]) for name in ("open", "high", "close", "volume")] in (
            ["1E-8", "999999999999.99999999", "1.1", "0"],
        )


async def test_a_correction_replaces_and_another_source_does_not(
    world: World, sender: Sender
) -> None:
    assert counts(await sender.bars(bar(0), bar(1))) == (2, 2, 0, 0)
    assert counts(await sender.bars(bar(0), bar(1, close="10.75"))) == (2, 0, 1, 1)
    # The same words from somebody else are no news; other words would be a quiet falsification.
    assert counts(await sender.bars(bar(0), source="other")) == (1, 0, 1, 0)
    refused = await sender.bars(bar(5), bar(1), source="other")
    assert place(refused) == ("rows_refused", ["body", "bars", 1], "other_source")
    found = await stored(world)
    assert [(row["close"], row["source"]) for row in found] == [
        (Decimal("10.25"), "vendor"),
        (Decimal("10.75"), "vendor"),
    ]


async def test_unknown_symbols_are_named_and_the_rest_is_written(
    world: World, sender: Sender
) -> None:
    answer = await sender.bars(
        bar(0), bar(0, symbol="NOPE"), bar(1, symbol="NOPE"), bar(0, symbol="B")
    )
    assert counts(answer) == (4, 1, 0, 0)
    assert answer.json()["unknown_symbols"] == ["B", "NOPE"]
    only = await sender.bars(bar(0, symbol="NOPE"))
    assert counts(only) == (1, 0, 0, 0)
    assert len(await stored(world)) == 1


async def test_what_changed_is_audited_once(world: World, sender: Sender) -> None:
    await sender.bars(bar(0), bar(1))
    await sender.bars(bar(0), bar(1))
    rows = await world.rows(
        "SELECT actor, detail FROM audit.audit_log WHERE action = 'bars.put' ORDER BY seq"
    )
    assert [(row["actor"], json.loads(row["detail"])["bars"]) for row in rows] == [
        ("system:worker", 2)
    ]


async def test_only_administrators_and_our_worker_write(
    world: World, make_person: MakePerson
) -> None:
    await make_instrument(world.migrate, "AAPL")
    for role in ("viewer", "trader", "admin"):
        person = await make_person(role)
        client, body = person.client, {"bars": [bar()]}
        answer = await client.post("/api/data/bars", params={"source": "vendor"}, json=body)
        gaps = await client.get("/api/data/bars/gaps")
        if role == "admin":
            assert (counts(answer), gaps.status_code) == ((1, 1, 0, 0), 422)
            [row] = await world.rows("SELECT actor FROM audit.audit_log WHERE action = 'bars.put'")
            assert row["actor"] == f"user:{person.user_id}"
        else:
            assert (code(answer), gaps.status_code) == ("role_not_allowed", 403)


MEANING: list[tuple[Row, str]] = [
    ({"high": "10.2"}, "high_low_invalid"),
    ({"low": "10.3"}, "high_low_invalid"),
    ({"bar_at": "2025-03-03T14:30:30Z"}, "bar_at_off_grid"),
    ({"bar_at": "2025-03-03T14:30:00Z", "resolution": "1h"}, "bar_at_off_grid"),
    ({"bar_at": "2025-03-03T01:00:00Z", "resolution": "1d"}, "bar_at_off_grid"),
    ({"bar_at": "1899-12-31T00:00:00Z"}, "bar_at_out_of_range"),
    ({"bar_at": "9999-12-31T23:59:00Z"}, "bar_at_out_of_range"),
    ({"bar_at": "0001-01-01T00:00:00Z"}, "bar_at_out_of_range"),
    ({"bar_at": "2199-01-01T00:00:00Z"}, "bar_at_out_of_range"),
    ({"bar_at": bar(0)["bar_at"]}, "duplicate_key"),
    ({"bar_at": "2025-03-03T15:30:00+01:00", "close": "10.3"}, "duplicate_key"),
]


@pytest.mark.parametrize("media_type", WAYS)
async def test_one_row_without_sense_refuses_all_and_is_named(
    world: World, sender: Sender, media_type: str
) -> None:
    prefix = ["body", "bars"] if media_type == "application/json" else ["body"]
    for change, fault in MEANING:
        rows = [bar(0), bar(1), bar(2, **change), bar(3)]
        named, where, kind = place(await sender.send("bars", WAYS[media_type](rows), media_type))
        assert (named, where[: len(prefix) + 1], kind) == ("rows_refused", [*prefix, 2], fault)
    assert await stored(world) == []


async def test_one_row_of_bad_form_refuses_all(world: World, sender: Sender) -> None:
    rows = [bar(0), bar(1), bar(2, close="1.123456789"), bar(3)]
    for media_type, write in ((NDJSON, lines), ("application/json", as_json)):
        named, where, _ = place(await sender.send("bars", write(rows), media_type))
        assert (named, where[-2:]) == ("validation_failed", [2, "close"])
    nothing = await sender.send("bars", stream([bar(0), bar(1, low="0")]), ARROW)
    assert place(nothing) == ("rows_refused", ["body", 1], "number_invalid")
    for body in (b"", stream(rows[:2])[:-60], stream([bar()], compression="zstd")):
        assert place(await sender.send("bars", body, ARROW))[0] == "validation_failed"
    assert await stored(world) == []


async def test_other_contents_are_not_taken(sender: Sender) -> None:
    body = as_json([bar()])
    for media_type in ("text/csv", "application/json; charset=latin-1", ""):
        refused = await sender.send("bars", body, media_type)
        assert (refused.status_code, code(refused)) == (415, "unsupported_media_type")
    packed = await sender.send("bars", gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert (packed.status_code, code(packed)) == (415, "unsupported_media_type")


async def test_a_source_that_is_none_is_refused(sender: Sender) -> None:
    for source in ("", "Vendor", "rollup", "a" * 21, "a b"):
        refused = await sender.bars(bar(), source=source)
        assert refused.status_code == 422
        assert code(refused) in ("validation_failed", "source_invalid")


async def test_a_body_of_a_million_rows_is_cut_off_while_it_arrives(sender: Sender) -> None:
    taken = 0

    async def million() -> Any:
        nonlocal taken
        for _ in range(1000):
            chunk = lines([bar()]) * 1000
            taken += len(chunk)
            yield chunk

    answer = await sender.client.post(
        "/api/data/bars?source=vendor", content=million(), headers={"Content-Type": NDJSON}
    )
    assert (answer.status_code, code(answer)) == (413, "body_too_large")


async def test_more_rows_than_a_hundred_thousand_are_refused(sender: Sender) -> None:
    schema = pa.schema(
        [("symbol", pa.string()), ("at", pa.timestamp("us", "UTC")), ("price", pa.string())]
    )
    cells = (["A"] * 200_000, [START] * 200_000, ["1"] * 200_000)
    batch = pa.record_batch(
        [pa.array(c, f.type) for c, f in zip(cells, schema, strict=True)], schema=schema
    )
    body = written(batch)
    assert len(body) < 8 * 1024 * 1024
    assert place(await sender.send("quotes", body, ARROW))[2] == "too_long"


async def test_a_full_body_is_written_and_two_of_them_at_once_agree(
    world: World, sender: Sender
) -> None:
    rows = [bar(minute) for minute in range(20_000)]
    body = stream(rows)
    answers = await asyncio.gather(*(sender.send("bars", body, ARROW) for _ in range(2)))
    good = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert sum(counts(answer)[1] for answer in good) == 20_000
    assert len(await stored(world)) == 20_000


async def test_a_bar_of_a_decade_without_a_partition_makes_it(world: World, sender: Sender) -> None:
    old = datetime(1905, 5, 1, tzinfo=UTC)
    row = bar(resolution="1d", bar_at=old.isoformat())
    assert counts(await sender.bars(row)) == (1, 1, 0, 0)
    new = bar(bar_at=(datetime.now(UTC).replace(second=0, microsecond=0)).isoformat())
    assert counts(await sender.bars(new)) == (1, 1, 0, 0)
    late = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=2)
    refused = await sender.bars(bar(bar_at=late.isoformat()))
    assert place(refused)[2] == "bar_at_out_of_range"
