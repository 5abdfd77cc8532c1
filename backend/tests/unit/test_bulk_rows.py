"""Rows by the thousand from somebody we do not trust: what is taken, and what is named as wrong."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from series_kit import (
    ARROW,
    BAR_SCHEMA,
    NDJSON,
    Row,
    bar,
    lines,
    stream,
    written,
)

from app.core.errors import AppError
from app.services import bulk_rows
from app.services.bulk_rows import BARS


def as_json(rows: list[Row]) -> bytes:
    return json.dumps({"bars": rows}).encode()


WAYS = {"application/json": as_json, NDJSON: lines, ARROW: stream}


def refusal(media_type: str, body: bytes) -> AppError:
    """Return the problem that a body is."""
    with pytest.raises(AppError) as refused:
        bulk_rows.read_rows(BARS, media_type, body)
    return refused.value


def fault(media_type: str, body: bytes) -> tuple[str, list[Any], str]:
    """Return code, place and kind of the first fault of a body."""
    error = refusal(media_type, body)
    assert error.errors, error
    return error.code, list(error.errors[0]["loc"]), error.errors[0]["type"]


def test_three_ways_mean_the_same_rows() -> None:
    rows = [bar(minute, close=f"10.{minute + 1:08d}") for minute in range(100)]
    read = [bulk_rows.read_rows(BARS, way, write(rows)) for way, write in WAYS.items()]
    first, *others = ({**it.columns, "numbers": _numbers(it)} for it in read)
    for other in others:
        assert {name: first[name] for name in ("symbol", "bar_at", "resolution", "numbers")} == {
            name: other[name] for name in ("symbol", "bar_at", "resolution", "numbers")
        }


def _numbers(rows: bulk_rows.Rows) -> list[list[Decimal]]:
    return [[Decimal(cell) for cell in rows.columns[name]] for name in BARS.numbers]


FORM: list[tuple[Row, str]] = [
    ({"open": 10.5}, "open"),
    ({"open": "10.123456789"}, "open"),
    ({"high": "NaN"}, "high"),
    ({"low": "-1"}, "low"),
    ({"low": "+1"}, "low"),
    ({"close": "1e3"}, "close"),
    ({"close": "Infinity"}, "close"),
    ({"volume": "1000000000000"}, "volume"),
    ({"volume": "٣"}, "volume"),
    ({"close": "1\n"}, "close"),
    ({"close": None}, "close"),
    ({"close": ...}, "close"),
    ({"symbol": "aapl"}, "symbol"),
    ({"symbol": "A\u0000"}, "symbol"),
    ({"symbol": "A" * 17}, "symbol"),
    ({"resolution": "5m"}, "resolution"),
    ({"bar_at": "2025-02-30T00:00:00Z"}, "bar_at"),
    ({"bar_at": "2025-02-03"}, "bar_at"),
    ({"bar_at": "2025-02-03T00:00:00"}, "bar_at"),
    ({"bar_at": "now"}, "bar_at"),
    ({"bar_at": 1}, "bar_at"),
    ({"surprise": "1"}, "surprise"),
]


@pytest.mark.parametrize("media_type", ["application/json", NDJSON])
@pytest.mark.parametrize(("change", "field"), FORM)
def test_a_row_of_bad_form_is_named(media_type: str, change: Row, field: str) -> None:
    rows = [bar(0), bar(1), bar(2, **change), bar(3)]
    prefix = ["body", "bars"] if media_type == "application/json" else ["body"]
    found = fault(media_type, WAYS[media_type](rows))
    assert found[:2] == ("validation_failed", [*prefix, 2, field])


NUMBER = "column_not_decimal128_or_utf8"
MOMENT = "column_not_utc_timestamp"
TYPES = {field.name: field.type for field in BAR_SCHEMA}
GOOD = stream([bar(0), bar(1)])
TABLE = pa.ipc.open_stream(GOOD).read_all()


def retyped(**changes: pa.DataType) -> bytes:
    """Write the good rows with other types."""
    schema = pa.schema([*{**TYPES, **changes}.items()])
    return written(TABLE.cast(schema).to_batches()[0])


def with_cells(name: str, *cells: Decimal | None, scale: int = 8) -> bytes:
    """Write the good rows with other cells in one column."""
    kind = pa.decimal128(38 if scale > 8 else 20, scale)
    place = TABLE.schema.get_field_index(name)
    changed = TABLE.set_column(place, pa.field(name, kind), pa.array(cells, kind))
    return written(changed.to_batches()[0])


def spoiled() -> bytes:
    """Make an offset of a string, which stands before the strings, point far behind the body."""
    symbols = GOOD.rindex(b"AAPLAAPL")
    offsets = (4).to_bytes(4, "little") + (8).to_bytes(4, "little")
    place = GOOD.rindex(offsets, 0, symbols)
    return GOOD[:place] + (2**31 - 1).to_bytes(4, "little") + GOOD[place + 4 :]


def bad_arrow() -> dict[str, tuple[bytes, str]]:
    """Return hostile streams by name, and what is said of each."""
    [batch] = TABLE.to_batches()
    doubled = pa.record_batch([*batch.columns, batch["open"]], names=[*TYPES, "open"])
    many = [bar(0), bar(1)] * 500
    malformed = {
        "nothing": b"",
        "noise": b"\x00" * 1000,
        "text": as_json([bar()]),
        "cut": GOOD[: len(GOOD) // 2],
        "cut_in_schema": GOOD[:40],
        "cut_in_data": GOOD[:-60],
        "offset": spoiled(),
        "not_utf8": GOOD.replace(b"AAPLAAPL", b"AAPLA\xff\xfeL"),
    }
    return {
        **{name: (body, "arrow_malformed") for name, body in malformed.items()},
        "no_rows": (written(batch.slice(0, 0)), "too_short"),
        "float": (retyped(open=pa.float64()), NUMBER),
        "integer": (retyped(volume=pa.int64()), NUMBER),
        "local_time": (retyped(bar_at=pa.timestamp("us", "Europe/Berlin")), MOMENT),
        "no_zone": (retyped(bar_at=pa.timestamp("us")), MOMENT),
        "dictionary": (
            retyped(symbol=pa.dictionary(pa.int32(), pa.string())),
            "column_not_utf8",
        ),
        "view": (retyped(symbol=pa.string_view()), "column_not_utf8"),
        "missing": (written(batch.drop_columns(["close"])), "missing"),
        "doubled": (written(doubled), "duplicate_column"),
        "zstd": (stream(many, compression="zstd"), "arrow_compressed"),
        "lz4": (stream(many, compression="lz4"), "arrow_compressed"),
        "nine_decimals": (
            with_cells("open", Decimal("10.5"), Decimal("10.123456789"), scale=18),
            "number_pattern",
        ),
        "negative": (with_cells("open", Decimal(10), Decimal(-1)), "number_pattern"),
        "hole": (with_cells("volume", Decimal(10), None), "missing"),
    }


@pytest.mark.parametrize("name", bad_arrow())
def test_a_hostile_stream_is_refused_before_it_grows(name: str) -> None:
    body, kind = bad_arrow()[name]
    before = pa.total_allocated_bytes()
    named, where, found = fault(ARROW, body)
    assert (named, found) == ("validation_failed", kind)
    if name in ("nine_decimals", "negative", "hole"):
        assert where[1] == 1
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_a_dictionary_message_behind_a_plain_schema_is_refused() -> None:
    rows = [bar(0), bar(1)]
    plain, table = stream(rows), pa.ipc.open_stream(stream(rows)).read_all()
    coded = table.set_column(0, "symbol", table["symbol"].dictionary_encode())
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(written(coded.to_batches()[0])))
    schema = pa.ipc.MessageReader.open_stream(pa.py_buffer(plain)).read_next_message()
    reader.read_next_message()
    dictionary = reader.read_next_message()
    assert dictionary.type == "dictionary"
    body = schema.serialize().to_pybytes() + dictionary.serialize().to_pybytes()
    assert fault(ARROW, body)[2] == "arrow_dictionary"


def outcome(body: bytes) -> str:
    """Return what becomes of a stream: the code of its problem, or that it was read."""
    try:
        bulk_rows.read_rows(BARS, ARROW, body)
    except AppError as error:
        return error.code
    return "read"


def test_every_cut_of_a_stream_is_refused_until_its_rows_are_whole() -> None:
    outcomes = [outcome(GOOD[:length]) for length in range(0, len(GOOD), 7)]
    assert set(outcomes[: len(outcomes) // 2]) == {"validation_failed"}
    assert set(outcomes) <= {"validation_failed", "read"}


def test_no_flipped_byte_of_a_stream_breaks_the_process() -> None:
    outcomes = set()
    for place in range(0, len(GOOD), 3):
        for value in (0, 1, 0x7F, 0xFF):
            flipped = bytearray(GOOD)
            flipped[place] = value
            outcomes.add(outcome(bytes(flipped)))
    assert {"read", "validation_failed"} <= outcomes
    assert outcomes <= {"read", "validation_failed", "rows_refused"}


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"", "application/json"),
        (b'{"bars": [', "application/json"),
        (b'{"bars": [' + b"[" * 100_000, "application/json"),
        (b"\xff\xfe", NDJSON),
        (b"{} {", NDJSON),
        (b"{}{}", NDJSON),
    ],
)
def test_what_is_no_json_is_a_bad_request(body: bytes, media_type: str) -> None:
    assert refusal(media_type, body).code == "json_malformed"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"bars": []}',
        b'{"bars": null}',
        b'{"bars": {}}',
        b'{"bars": [null]}',
        b'{"bars": [], "bars": []}',
        b'{"bars": [], "more": 1}',
        b'{"bars": [{"symbol": "AAPL", "symbol": "AAPL"}]}',
        b'{"bars": NaN}',
        b'{"bars": [{"symbol": "\\ud800"}]}',
    ],
)
def test_json_that_means_no_rows_is_refused(body: bytes) -> None:
    assert refusal("application/json", body).code == "validation_failed"


def test_a_line_that_names_a_field_twice_is_refused() -> None:
    doubled = lines([bar(0)]) + lines([bar(1)]).replace(b"{", b'{"open": "9", ', 1)
    assert fault(NDJSON, doubled)[1][:2] == ["body", 1]


def test_the_newest_quote_of_a_symbol_is_shown_and_a_reset_is_kept() -> None:
    cells = [("A", 2, None), ("A", 3, None), ("B", 9, True), ("B", 1, None), ("C", 1, None)]
    quotes = [
        {"symbol": symbol, "price": f"{at}", "at": f"2025-06-02T13:30:0{at}Z", "reset": reset}
        for symbol, at, reset in cells
    ]
    rows = bulk_rows.read_rows(bulk_rows.QUOTES, NDJSON, lines(quotes))
    newest = [(it["symbol"], it["price"], it["reset"]) for it in rows.newest(without=["C"])]
    assert newest == [("A", "3", False), ("B", "9", True)]
