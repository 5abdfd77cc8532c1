"""Rows as files: every number exact, every moment ISO 8601 in UTC; pure."""

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.models import DailyPnl, Execution

# A spreadsheet runs a cell that begins like this as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def to_csv(rows: Sequence[DailyPnl] | Sequence[Execution], kind: type[Any]) -> bytes:
    """One line a row under a header of the wire's names, also when there are no rows."""
    names = [field.name for field in fields(kind)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    return out.getvalue().encode()


def _cell(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = str(value)
    harmful = isinstance(value, str) and text.startswith(FORMULA_STARTS)
    return f"'{text}" if harmful else text
