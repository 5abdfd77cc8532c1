"""All rows of a span, page by page: one read gives at most so many."""

from collections.abc import Callable
from datetime import datetime, timedelta

from services.models import Execution
from services.models_reports import AuditLink

PAGE_ROWS = 1000
ROWS_MAX = 100_000
MICROSECOND = timedelta(microseconds=1)

Page = Callable[[int, datetime, datetime], list[Execution]]


def fills(page: Page, since: datetime, until: datetime) -> list[Execution]:
    """Newest first, each once; a page begins at the moment at which the one before ended."""
    found: dict[int, Execution] = {}
    while len(found) < ROWS_MAX:
        rows = page(PAGE_ROWS, since, until)
        fresh = [row for row in rows if row.execution_id not in found]
        found |= {row.execution_id: row for row in fresh}
        if len(rows) < PAGE_ROWS or not fresh:
            break
        until = rows[-1].executed_at + MICROSECOND
    return list(found.values())


def links(page: Callable[[tuple[int, int]], list[AuditLink]]) -> list[AuditLink]:
    """By stream and sequence, each page after the last link of the one before."""
    found: list[AuditLink] = []
    after = (-1, 0)
    while len(found) < ROWS_MAX and (rows := page(after)):
        found += rows
        after = (rows[-1].stream_id, rows[-1].seq)
    return found
