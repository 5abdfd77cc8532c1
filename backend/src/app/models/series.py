"""Bars and quotes on the wire, by the thousand."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from app.models.dto import (
    NUMBER_PATTERN,
    POSITIVE_PATTERN,
    Inbound,
    MomentText,
    Outbound,
    Quote,
    Symbol,
    checked_number,
    schema_of,
)

ROWS_MAX = 100_000
BARS_READ_MAX = 10_000
SOURCE_PATTERN = r"^[a-z]{1,20}$"

Resolution = Literal["1d", "1h", "1m"]
Price = Annotated[
    str,
    BeforeValidator(lambda value: checked_number(value, positive=True)),
    schema_of(POSITIVE_PATTERN, "20.5"),
]
Volume = Annotated[
    str,
    BeforeValidator(lambda value: checked_number(value, positive=False)),
    schema_of(NUMBER_PATTERN, "1000"),
]


class Bar(Inbound):
    """Open, high, low, close and volume from `bar_at` on, which lies on the grid of UTC."""

    symbol: Symbol
    resolution: Resolution
    bar_at: MomentText
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Volume


class Bars(Inbound):
    """Bars of one source, each slot of an instrument once."""

    bars: Annotated[list[Bar], Field(min_length=1, max_length=ROWS_MAX)]


class Quotes(Inbound):
    """Prices of one source."""

    quotes: Annotated[list[Quote], Field(min_length=1, max_length=ROWS_MAX)]


class RowsRecorded(Outbound):
    """What became of the rows; those of unknown symbols are left out."""

    received: int
    inserted: int
    unchanged: int
    replaced: int
    unknown_symbols: list[str]


class QuotesRecorded(RowsRecorded):
    """The same for quotes, of which one each 5 s is kept; `marks` is how many prices moved."""

    marks: int


class StoredBar(Outbound):
    """A bar as it is kept; `original_date` is set when it is shown under another date."""

    bar_at: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    source: str
    original_date: str | None


class BarsPage(Outbound):
    """Bars, oldest first; the next page begins at `next_from`, the last page has none."""

    symbol: str
    resolution: Resolution
    bars: list[StoredBar]
    next_from: str | None


class Gap(Outbound):
    """Bars that are missing, one after another."""

    first_at: str
    last_at: str
    bars: int


class Duplicate(Outbound):
    """A slot in which a source has more than one bar."""

    source: str
    bar_at: str
    bars: int


class BarsReport(Outbound):
    """What the sessions of a span should have, what there is, and the first 1,000 gaps."""

    symbol: str
    resolution: str
    sessions: int
    expected: int
    present: int
    missing: list[Gap]
    duplicates: list[Duplicate]
