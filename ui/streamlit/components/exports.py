"""Rows as files: every number exact, every moment in UTC, no cell that runs as a formula; pure."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from decimal import Decimal
from types import UnionType
from typing import Any, get_args

import pyarrow as pa
from openpyxl import Workbook
from pyarrow import parquet

# A spreadsheet runs a cell that begins like this as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# What XML has no way to write.
UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
# What an empty or unknown number is in a file of typed columns.
NUMBER = pa.decimal128(38, 8)
TYPES: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file."""

    name: str
    suffix: str
    mime: str
    write: Callable[[Sequence[Any], type[Any]], bytes]


def to_csv(rows: Sequence[Any], kind: type[Any]) -> bytes:
    """One line a row under a header of the wire's names, also when there are no rows."""
    names = [field.name for field in fields(kind)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_text(getattr(row, name)) for name in names] for row in rows)
    return out.getvalue().encode()


def to_xlsx(rows: Sequence[Any], kind: type[Any]) -> bytes:
    """One sheet with the same names; times are UTC without a zone, which a sheet cannot hold."""
    names = [field.name for field in fields(kind)]
    book = Workbook(write_only=True)
    sheet = book.create_sheet(kind.__name__)
    sheet.append(names)
    for row in rows:
        sheet.append([_cell(getattr(row, name)) for name in names])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def to_parquet(rows: Sequence[Any], kind: type[Any]) -> bytes:
    """Typed columns with the same names: decimals exact, times with their zone."""
    columns = {
        field.name: _column([getattr(row, field.name) for row in rows], _plain(field.type))
        for field in fields(kind)
    }
    out = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), out, compression="zstd")
    return bytes(out.getvalue())


FORMATS = (
    Format("CSV", "csv", "text/csv", to_csv),
    Format(
        "XLSX",
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        to_xlsx,
    ),
    Format("Parquet", "parquet", "application/vnd.apache.parquet", to_parquet),
)


def _plain(annotation: Any) -> Any:
    """The type of a field, that of `Decimal | None` too."""
    if isinstance(annotation, UnionType):
        return next(it for it in get_args(annotation) if it is not type(None))
    return annotation


def _column(values: list[Any], kind: Any) -> pa.Array:
    if kind is not Decimal:
        return pa.array(values, type=TYPES[kind])
    if all(value is None for value in values):
        return pa.nulls(len(values), NUMBER)
    # As wide as its widest number; a figure may have more digits than 38.
    return pa.array(values)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return _harmless(value) if isinstance(value, str) else str(value)


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    return _harmless(UNWRITABLE.sub("", value)) if isinstance(value, str) else value


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
