"""Rows by the thousand as columns of text: JSON, lines of JSON or an Arrow stream, judged alike.

JSON is read by our own strict parser: Arrow's crashed the whole process on what a fuzzer sent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from app.core.errors import AppError, ValidationFailed
from app.core.errors_trading import RowsRefused
from app.core.problems import validation_failed
from app.core.strict_json import parse_strict_json
from app.models.dto import NUMBER_PATTERN, SYMBOL_PATTERN, TIME_PATTERN, Inbound, Quote
from app.models.series import ROWS_MAX, Bar, Bars, Quotes, StoredBar
from app.services import arrow_stream

JSON, NDJSON, ARROW = "application/json", "application/x-ndjson", arrow_stream.MEDIA_TYPE

NUMBER = pa.decimal128(20, 8)
# Volumes that were rolled up may be larger than any that is taken.
WIDE_NUMBER = pa.decimal128(38, 8)
MOMENT = pa.timestamp("us", "UTC")
# What Postgres can certainly hold; the procedures know better.
EARLIEST, LATEST = "1900-01-01T00:00:00Z", "2200-01-01T00:00:00Z"

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Rows:
    """Rows as columns of text, and where in the body they stand."""

    columns: Columns
    place: tuple[str, ...]

    def count(self) -> int:
        """Return how many rows there are."""
        return len(self.columns["symbol"])

    def newest(self, *, without: Iterable[str]) -> list[dict[str, Any]]:
        """Return the latest quote of each symbol but these; a reset counts for its symbol."""
        left_out = set(without)
        latest: dict[str, dict[str, Any]] = {}
        names = ("symbol", "price", "at", "reset")
        for cells in zip(*(self.columns[name] for name in names), strict=True):
            quote = dict(zip(names, cells, strict=True))
            known = latest.get(quote["symbol"], quote)
            reset = bool(quote["reset"] or known["reset"])
            newer = quote if quote["at"] >= known["at"] else known
            latest[quote["symbol"]] = {**newer, "reset": reset}
        return [quote for symbol, quote in latest.items() if symbol not in left_out]


@dataclass(frozen=True)
class Shape:
    """The columns of one kind of rows: which texts, numbers and moments, and their JSON."""

    key: str
    body: type[Inbound]
    row: type[Inbound]
    texts: Mapping[str, str]
    moment: str
    numbers: tuple[str, ...]
    flags: tuple[str, ...] = ()


BARS = Shape(
    "bars",
    Bars,
    Bar,
    {"symbol": SYMBOL_PATTERN, "resolution": "^(1d|1h|1m)$"},
    "bar_at",
    ("open", "high", "low", "close", "volume"),
)
QUOTES = Shape("quotes", Quotes, Quote, {"symbol": SYMBOL_PATTERN}, "at", ("price",), ("reset",))


@dataclass(frozen=True)
class Judge:
    """Says which row of which column is wrong."""

    prefix: tuple[str, ...]

    def fault(self, row: int | None, name: str, kind: str) -> dict[str, Any]:
        """Name the place of a fault."""
        place = [] if row is None else [row]
        return {"loc": ["body", *self.prefix, *place, name], "type": kind}

    def require(self, good: pa.ChunkedArray, name: str, kind: str) -> None:
        """Refuse the rows when one is not good."""
        row = pc.index(good, pa.scalar(False)).as_py()
        if row >= 0:
            raise ValidationFailed(errors=[self.fault(row, name, kind)])

    def complete(self, column: pa.ChunkedArray, name: str) -> None:
        """Refuse a column that has holes."""
        if column.null_count:
            self.require(pc.is_valid(column), name, "missing")

    def cast(
        self, column: pa.ChunkedArray, target: pa.DataType, name: str, kind: str
    ) -> pa.ChunkedArray:
        """Convert without loss; the first cell that cannot be converted is the fault."""
        try:
            return pc.cast(column, target)
        except pa.ArrowInvalid as error:
            row = next(row for row, cell in enumerate(_cells(column)) if not _fits(cell, target))
            raise ValidationFailed(errors=[self.fault(row, name, kind)]) from error


def read_rows(shape: Shape, media_type: str, body: bytes) -> Rows:
    """Read a body into columns of text for Postgres; the first bad row is named."""
    place = (shape.key,) if media_type == JSON else ()
    judge = Judge(place)
    table = READERS[media_type](shape, body)
    if not 0 < table.num_rows <= ROWS_MAX:
        kind = "too_long" if table.num_rows else "too_short"
        raise ValidationFailed(errors=[{"loc": ["body", *place], "type": kind}])
    columns: Columns = {}
    for name, pattern in shape.texts.items():
        judge.complete(table[name], name)
        judge.require(pc.match_substring_regex(table[name], pattern), name, "pattern_mismatch")
        columns[name] = table[name].to_pylist()
    columns[shape.moment] = _moments(table[shape.moment], shape.moment, judge).to_pylist()
    for name in shape.numbers:
        columns[name] = _numbers(table[name], name, judge).to_pylist()
    for name in shape.flags:
        there = name in table.column_names
        columns[name] = table[name].to_pylist() if there else [None] * table.num_rows
    return Rows(columns, place)


def _moments(column: pa.ChunkedArray, name: str, judge: Judge) -> pa.ChunkedArray:
    judge.complete(column, name)
    if pa.types.is_string(column.type):
        judge.require(pc.match_substring_regex(column, TIME_PATTERN), name, "time_pattern")
    moments = judge.cast(column, MOMENT, name, "time_invalid")
    early, late = (pc.cast(pa.scalar(limit), MOMENT) for limit in (EARLIEST, LATEST))
    near = pc.and_(pc.greater_equal(moments, early), pc.less(moments, late))
    row = pc.index(near, pa.scalar(False)).as_py()
    if row >= 0:
        raise RowsRefused(errors=[judge.fault(row, name, f"{name}_out_of_range")])
    return pc.cast(moments, pa.string())


def _numbers(column: pa.ChunkedArray, name: str, judge: Judge) -> pa.ChunkedArray:
    judge.complete(column, name)
    if pa.types.is_decimal(column.type):
        numbers = judge.cast(column, NUMBER, name, "number_pattern")
        judge.require(
            pc.greater_equal(numbers, pa.scalar(Decimal(0), NUMBER)), name, "number_pattern"
        )
        return pc.cast(numbers, pa.string())
    judge.require(pc.match_substring_regex(column, NUMBER_PATTERN), name, "number_pattern")
    return column


def _cells(column: pa.ChunkedArray) -> Iterable[pa.Scalar]:
    return (cell for chunk in column.chunks for cell in chunk)


def _fits(cell: pa.Scalar, target: pa.DataType) -> bool:
    try:
        pc.cast(cell, target)
    except pa.ArrowInvalid:
        return False
    return True


def _from_json(shape: Shape, body: bytes) -> pa.Table:
    found = _validated(shape.body, parse_strict_json(body), ())
    return _table(shape, getattr(found, shape.key))


def _from_lines(shape: Shape, body: bytes) -> pa.Table:
    rows = []
    for number, line in enumerate(filter(bytes.strip, body.split(b"\n"))):
        try:
            value = parse_strict_json(line)
        except AppError as error:
            error.errors = [{"loc": ["body", number], "type": error.code}]
            raise
        rows.append(_validated(shape.row, value, (number,)))
    return _table(shape, rows)


def _validated(model: type[Inbound], value: Any, prefix: tuple[int, ...]) -> Inbound:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = [
            {**fault, "loc": ("body", *prefix, *fault["loc"])}
            for fault in error.errors(include_url=False, include_context=False)
        ]
        raise validation_failed(faults) from error


def _table(shape: Shape, rows: Sequence[Inbound]) -> pa.Table:
    columns = {
        name: pa.array([getattr(row, name) for row in rows], pa.string())
        for name in (*shape.texts, shape.moment, *shape.numbers)
    }
    flags = {
        name: pa.array([getattr(row, name) for row in rows], pa.bool_()) for name in shape.flags
    }
    return pa.table({**columns, **flags})


def _from_arrow(shape: Shape, body: bytes) -> pa.Table:
    def check(schema: pa.Schema) -> None:
        required = {*shape.texts, shape.moment, *shape.numbers}
        faults = [
            {"loc": ["body", name], "type": "missing"}
            for name in sorted(required - set(schema.names))
        ]
        for field in schema:
            kind = _column_fault(shape, field)
            if kind or schema.names.count(field.name) > 1:
                faults.append({"loc": ["body", field.name], "type": kind or "duplicate_column"})
        if faults:
            raise validation_failed(faults)

    return arrow_stream.read_stream(body, check)


def _column_fault(shape: Shape, field: pa.Field) -> str | None:
    """Say what is wrong with a column's type; a float is no number here."""
    kind = field.type
    if field.name in shape.texts:
        return None if kind == pa.string() else "column_not_utf8"
    if field.name == shape.moment:
        utc = pa.types.is_timestamp(kind) and kind.tz in ("UTC", "+00:00")
        return None if utc else "column_not_utc_timestamp"
    if field.name in shape.numbers:
        decimal = pa.types.is_decimal128(kind) and 0 <= kind.scale <= 38
        return None if decimal or kind == pa.string() else "column_not_decimal128_or_utf8"
    if field.name in shape.flags:
        return None if kind == pa.bool_() else "column_not_bool"
    return "extra_forbidden"


READERS: dict[str, Callable[[Shape, bytes], pa.Table]] = {
    JSON: _from_json,
    NDJSON: _from_lines,
    ARROW: _from_arrow,
}


def write_bars(symbol: str, resolution: str, bars: Sequence[StoredBar]) -> bytes:
    """Write bars as a stream with the columns in which they are taken, and where they are from."""
    columns: dict[str, pa.Array] = {
        "symbol": pa.array([symbol] * len(bars), pa.utf8()),
        "resolution": pa.array([resolution] * len(bars), pa.utf8()),
        "bar_at": pc.cast(pa.array([bar.bar_at for bar in bars], pa.utf8()), MOMENT),
    }
    for name in BARS.numbers:
        columns[name] = pa.array([Decimal(getattr(bar, name)) for bar in bars], WIDE_NUMBER)
    for name in ("source", "original_date"):
        columns[name] = pa.array([getattr(bar, name) for bar in bars], pa.utf8())
    batch = pa.RecordBatch.from_pydict(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())
