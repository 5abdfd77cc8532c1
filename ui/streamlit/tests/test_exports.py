"""Files to take along: exact, complete, harmless, and read back by those who made the formats."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from components import exports, paging
from pages_rows import NOW, make_cost, make_day, make_execution, make_link, make_part
from pyarrow import parquet
from services.models import DailyPnl, Execution
from services.models_reports import Attribution, AuditLink, ExecutionCosts

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]


def sheet(data: bytes) -> list[tuple[Any, ...]]:
    """The rows of a workbook, its header first; formulas as they are written."""
    book = openpyxl.load_workbook(io.BytesIO(data))
    return [tuple(cell.value for cell in row) for row in book.active.iter_rows()]


def table(data: bytes) -> pa.Table:
    """The columns of a Parquet file."""
    return parquet.read_table(io.BytesIO(data))


def test_a_file_holds_exact_numbers_and_moments_in_utc() -> None:
    text = exports.to_csv([make_execution(price=Decimal("0.10000001"))], Execution).decode()
    row = next(csv.DictReader(text.splitlines()))
    assert row["price"] == "0.10000001"
    assert row["executed_at"] == "2026-11-20T15:30:00Z"


def test_what_is_not_known_is_an_empty_cell_and_not_the_word_none() -> None:
    row = make_part(strategy=None, unrealized_pnl=None)
    text = exports.to_csv([row], Attribution).decode()
    assert "None" not in text
    head, cells = csv.reader(text.splitlines())
    assert [cells[head.index(name)] for name in ("strategy", "unrealized_pnl")] == ["", ""]
    head, cells = sheet(exports.to_xlsx([row], Attribution))
    assert cells[head.index("strategy")] is None
    assert table(exports.to_parquet([row], Attribution))["strategy"].to_pylist() == [None]


def test_a_workbook_holds_numbers_days_and_times_as_such() -> None:
    head, row = sheet(exports.to_xlsx([make_execution(price=Decimal("190.05"))], Execution))
    found = dict(zip(head, row, strict=True))
    assert (found["price"], found["executed_at"]) == (190.05, NOW.replace(tzinfo=None))
    head, row = sheet(exports.to_xlsx([make_day(date(2026, 11, 1), "-5")], DailyPnl))
    found = dict(zip(head, row, strict=True))
    assert (found["pnl"], found["day"].date()) == (-5, date(2026, 11, 1))


def test_parquet_keeps_decimals_exact_and_times_with_their_zone() -> None:
    rows = [make_execution(price=Decimal("0.10000001")), make_execution(2, price=Decimal("1e11"))]
    found = table(exports.to_parquet(rows, Execution))
    assert found["price"].to_pylist() == [Decimal("0.10000001"), Decimal("1e11")]
    assert found["executed_at"].to_pylist() == [NOW, NOW]
    assert found.schema.field("executed_at").type == pa.timestamp("us", tz="UTC")


def test_parquet_takes_a_figure_of_more_digits_than_a_usual_decimal_has() -> None:
    long = Decimal("123456789012345678901234567890.12345678901234567890")
    found = table(exports.to_parquet([make_part(pnl=long), make_part(pnl=None)], Attribution))
    assert found["pnl"].to_pylist() == [long, None]


@pytest.mark.parametrize("kind", [Execution, DailyPnl, Attribution, ExecutionCosts, AuditLink])
def test_a_file_without_rows_has_its_header(kind: type[Any]) -> None:
    names = next(iter(csv.reader(exports.to_csv([], kind).decode().splitlines())))
    assert sheet(exports.to_xlsx([], kind)) == [tuple(names)]
    empty = table(exports.to_parquet([], kind))
    assert (empty.column_names, empty.num_rows) == (names, 0)


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_in_a_file_runs_as_a_formula(text: str) -> None:
    row = make_link(actor=text, detail="{}")
    told = io.StringIO(exports.to_csv([row], AuditLink).decode(), newline="")
    assert next(csv.DictReader(told))["actor"] == f"'{text}"
    book = openpyxl.load_workbook(io.BytesIO(exports.to_xlsx([row], AuditLink)))
    cells = [cell for line in book.active.iter_rows() for cell in line]
    assert [cell.data_type for cell in cells if cell.data_type == "f"] == []
    assert any(str(cell.value).startswith("'") for cell in cells)


def test_a_number_below_zero_stays_a_number() -> None:
    text = exports.to_csv([make_day(date(2026, 11, 1), "-5")], DailyPnl).decode()
    assert ",-5," in text
    assert "'" not in text


def test_what_xml_cannot_hold_is_left_out_of_a_workbook_alone() -> None:
    row = make_link(detail="a\x00b\x1bc\ufffe")
    head, cells = sheet(exports.to_xlsx([row], AuditLink))
    assert cells[head.index("detail")] == "abc"
    assert table(exports.to_parquet([row], AuditLink))["detail"].to_pylist() == [row.detail]


def test_every_kind_of_row_becomes_every_kind_of_file() -> None:
    rows: list[tuple[Any, type[Any]]] = [
        (make_execution(), Execution),
        (make_day(date(2026, 11, 1), "5"), DailyPnl),
        (make_part(), Attribution),
        (make_cost(slippage=None, slippage_bps=None, time_to_fill_s=None), ExecutionCosts),
        (make_link(), AuditLink),
    ]
    for row, kind in rows:
        assert len(exports.to_csv([row], kind).decode().splitlines()) == 2
        assert len(sheet(exports.to_xlsx([row], kind))) == 2
        assert table(exports.to_parquet([row], kind)).num_rows == 1


def test_all_fills_of_a_period_are_read_page_by_page_each_once() -> None:
    rows = [make_execution(n, executed_at=NOW - timedelta(seconds=n // 3)) for n in range(1, 2_501)]

    def page(limit: int, since: datetime, until: datetime) -> list[Execution]:
        return [row for row in rows if since <= row.executed_at < until][:limit]

    found = paging.fills(page, NOW - timedelta(days=1), NOW + timedelta(days=1))
    assert [row.execution_id for row in found] == [row.execution_id for row in rows]


def test_all_links_of_a_period_are_read_page_by_page_each_once() -> None:
    rows = [make_link(n, stream_id=stream) for stream in (0, 4) for n in range(1, 8)]

    def page(after: tuple[int, int]) -> list[AuditLink]:
        return [row for row in rows if (row.stream_id, row.seq) > after][:3]

    assert paging.links(page) == rows


@pytest.mark.parametrize("write", [exports.to_csv, exports.to_xlsx, exports.to_parquet])
def test_a_moment_of_another_zone_is_the_same_moment(write: Callable[..., bytes]) -> None:
    zone = datetime.fromisoformat("2026-11-20T16:30:00+01:00")
    same = [make_execution(executed_at=at) for at in (zone, zone.astimezone(UTC))]
    if write is exports.to_xlsx:
        assert sheet(write(same[:1], Execution)) == sheet(write(same[1:], Execution))
    else:
        assert write(same[:1], Execution) == write(same[1:], Execution)
