"""Reads master data from CSV files, line by line, and says of each mistake in which line it is."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.admin.client import Failed
from app.models.dto_admin import IMPORTS, LINES_MAX, ImportKind

# Columns that people write instead of ids.
BY_NAME = {"account": "account_id", "email": "user_id"}
WORDS = {"true": True, "false": False, "none": None}

Lookup = Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class Line:
    """One line of a file, as the API takes it."""

    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Mistake:
    """What is wrong in a line."""

    line: int
    column: str
    code: str

    def __str__(self) -> str:
        where = f"line {self.line}, {self.column}" if self.column else f"line {self.line}"
        return f"{where}: {self.code}"


def read_lines(
    path: Path, kind: ImportKind, lookups: Mapping[str, Lookup]
) -> tuple[list[Line], list[Mistake]]:
    """Read a file with a header; `lookups` knows ids by the names that people write."""
    fields = IMPORTS[kind].model_fields
    flags = {name for name, field in fields.items() if "bool" in str(field.annotation)}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header = reader.fieldnames or []
            _check_header(header, fields)
            found = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Failed(f"{path} cannot be read: {error}") from error
    if not 0 < len(found) <= LINES_MAX:
        raise Failed(f"{path} has {len(found)} lines; from 1 to {LINES_MAX} go in one import")
    known = {name: lookups[name]() for name in BY_NAME if name in header}
    lines, mistakes = [], []
    for number, row in found:
        values, wrong = _values(row, flags, known)
        lines.append(Line(number, values))
        mistakes += [Mistake(number, column, code) for column, code in wrong]
    return lines, mistakes


def _check_header(header: Any, fields: Mapping[str, Any]) -> None:
    unknown = [name for name in header if name not in fields and BY_NAME.get(name) not in fields]
    if unknown or len(set(header)) != len(header):
        names = ", ".join([*fields, *(it for it, name in BY_NAME.items() if name in fields)])
        raise Failed(f"line 1: columns are {names}, each once; {unknown or header} is not that")


def _values(
    row: Mapping[Any, Any], flags: set[str], known: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    values: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    if None in row or None in row.values():
        return values, [("", "column_count")]
    for name, text in row.items():
        if name in known:
            if text in known[name]:
                values[BY_NAME[name]] = known[name][text]
            else:
                wrong.append((name, "unknown"))
        elif text and name not in flags:
            values[name] = text
        elif text and text.lower() in WORDS:
            values[name] = WORDS[text.lower()]
        elif text:
            wrong.append((name, "true_or_false"))
    return values, wrong


def mistakes_of(problem: Mapping[str, Any], lines: list[Line]) -> list[Mistake]:
    """Say which lines of the file a refusal of the API means."""
    found = []
    for fault in problem.get("errors", ()):
        # body, lines, place, and the field where it is one field's fault.
        place, *field = fault["loc"][2:]
        column = str(field[0]) if field else ""
        found.append(Mistake(lines[place].number, column, fault["type"]))
    return found
