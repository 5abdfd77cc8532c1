"""Safe writes of data that is no order: prices and history, by the thousand; and what is missing.

The source of the rows is in the query, since a stream of Arrow has no place for it.
"""

import asyncio
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request

from app.api.dependencies import DatabaseDep, HotQuotesDep, RequestId
from app.api.openapi import BARS_REF, QUOTES_REF, problems
from app.api.routing import PROGRAM_REFUSALS, StrictRoute, is_json
from app.auth.rbac import Role, require, signed_in, signed_in_or_program
from app.auth.service_tokens import bears_worker_token
from app.core import errors, errors_trading
from app.core.security import Actor, SessionExpired, SessionRequired
from app.models.dto import Symbol
from app.models.series import SOURCE_PATTERN, BarsReport, QuotesRecorded, Resolution, RowsRecorded
from app.services import bulk_rows, exchange_hours, sp_series

REFUSALS = (
    SessionRequired,
    SessionExpired,
    *PROGRAM_REFUSALS,
    errors.SessionRevoked,
    errors.RoleNotAllowed,
    errors.CsrfRejected,
    errors.ValidationFailed,
    errors.DatabaseBusy,
    errors.DatabaseContention,
    errors.DatabaseUnavailable,
)
LOAD_REFUSALS = (
    *REFUSALS,
    errors.JsonMalformed,
    errors.UnsupportedMediaType,
    errors_trading.RowsRefused,
)
UNKNOWN_SHOWN_MAX = 1000
SPAN_DAYS_MAX = {"1d": 40_000, "1h": 4_000, "1m": 100}


class DataRoute(StrictRoute):
    """Open to administrators, their service tokens and our own worker."""

    async def admit(self, request: Request) -> None:
        """Check who it is before 8 MiB are read."""
        if not bears_worker_token(request):
            await signed_in_or_program(request, "data")
            await require(Role.ADMIN)(request)


router = APIRouter(prefix="/api/data", tags=["data"], route_class=DataRoute)


async def loader(request: Request) -> Actor | None:
    """Return the administrator in whose name this comes; none is our own worker."""
    return None if bears_worker_token(request) else await signed_in(request)


Loader = Annotated[Actor | None, Depends(loader)]
BarsSource = Annotated[str, Query(pattern=SOURCE_PATTERN, examples=["vendor"])]
QuotesSource = Annotated[Literal["replay", "quantconnect", "ib"], Query()]


def body_of(shape: bulk_rows.Shape, reference: dict[str, str]) -> dict[str, Any]:
    """Describe the three ways to send rows."""
    columns = ", ".join((*shape.texts, shape.moment, *shape.numbers, *shape.flags))
    line = f"One JSON object a line, each as an item of `{shape.key}` is in application/json."
    stream = (
        f"An uncompressed IPC stream without dictionaries; columns {columns}. Numbers are"
        " decimal128 or utf8, no floats; moments are timestamps in UTC; the rest is utf8 or bool."
    )
    binary = {"type": "string", "format": "binary"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                bulk_rows.JSON: {"schema": reference},
                bulk_rows.NDJSON: {"schema": {**binary, "description": line}},
                bulk_rows.ARROW: {"schema": {**binary, "description": stream}},
            },
        }
    }


async def rows_of(request: Request, shape: bulk_rows.Shape) -> bulk_rows.Rows:
    """Read the body, whose size is limited while it arrives, and judge it off the event loop."""
    media_type = request.headers.get("content-type", "")
    kind = bulk_rows.JSON if is_json(media_type) else media_type.strip().lower()
    packed = request.headers.get("content-encoding", "identity").strip().lower() != "identity"
    if packed or kind not in bulk_rows.READERS:
        raise errors.UnsupportedMediaType(
            f"Send {', '.join(bulk_rows.READERS)}, without Content-Encoding."
        )
    return await asyncio.to_thread(bulk_rows.read_rows, shape, kind, await request.body())


def recorded(loaded: sp_series.Loaded, received: int) -> dict[str, Any]:
    """Count what became of the rows."""
    return {
        "received": received,
        "inserted": loaded.inserted,
        "unchanged": loaded.unchanged,
        "replaced": loaded.replaced,
        "unknown_symbols": loaded.unknown_symbols[:UNKNOWN_SHOWN_MAX],
    }


@router.post(
    "/bars",
    summary="Record history",
    responses=problems(*LOAD_REFUSALS),
    openapi_extra=body_of(bulk_rows.BARS, BARS_REF),
)
async def record_bars(
    *,
    request: Request,
    source: BarsSource,
    by: Loader,
    request_id: RequestId,
    database: DatabaseDep,
) -> RowsRecorded:
    """All rows or none; the same again changes nothing, another source's bar is never replaced."""
    rows = await rows_of(request, bulk_rows.BARS)
    async with database.transaction() as connection:
        loaded = await sp_series.load_bars(connection, sp_series.Load(by, request_id, source, rows))
    return RowsRecorded(**recorded(loaded, rows.count()))


@router.post(
    "/quotes",
    summary="Record prices",
    responses=problems(*LOAD_REFUSALS),
    openapi_extra=body_of(bulk_rows.QUOTES, QUOTES_REF),
)
async def record_quotes(
    *,
    request: Request,
    source: QuotesSource,
    by: Loader,
    request_id: RequestId,
    database: DatabaseDep,
    hot_quotes: HotQuotesDep,
) -> QuotesRecorded:
    """Moves the marks and the hot store, and keeps the first quote of each 5 s."""
    rows = await rows_of(request, bulk_rows.QUOTES)
    async with database.transaction() as connection:
        loaded = await sp_series.load_quotes(
            connection, sp_series.Load(by, request_id, source, rows)
        )
    if loaded.marks:
        await hot_quotes.publish(source, rows.newest(without=loaded.unknown_symbols))
    return QuotesRecorded(**recorded(loaded, rows.count()), marks=loaded.marks)


@router.get(
    "/bars/gaps",
    summary="Report missing and doubled bars",
    responses=problems(*REFUSALS, errors.InstrumentNotFound, errors_trading.SpanInvalid),
)
async def bars_gaps(
    symbol: Annotated[Symbol, Query()],
    resolution: Annotated[Resolution, Query()],
    first: Annotated[date, Query(alias="from", examples=["2026-01-02"])],
    last: Annotated[date, Query(alias="to", examples=["2026-01-30"])],
    database: DatabaseDep,
) -> BarsReport:
    """Both days are included; the sessions are those of the New York Stock Exchange."""
    if not timedelta() <= last - first <= timedelta(days=SPAN_DAYS_MAX[resolution]):
        raise errors_trading.SpanInvalid()
    spans = list(exchange_hours.bar_spans(resolution, first, last))
    async with database.transaction() as connection:
        report = await sp_series.bars_report(connection, symbol, resolution, spans)
    return BarsReport(symbol=symbol, resolution=resolution, sessions=len(spans), **report)
