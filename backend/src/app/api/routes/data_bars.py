"""The one read of history, for programs and notebooks: a page of bars as JSON or as Arrow."""

import asyncio
from typing import Annotated

from fastapi import Header, Query, Response

from app.api.dependencies import DatabaseDep, SignedIn
from app.api.openapi import problems
from app.api.routing import session_router
from app.core import errors, errors_trading
from app.models.dto import Moment, Symbol
from app.models.series import BARS_READ_MAX, BarsPage, Resolution
from app.services import arrow_stream, bulk_rows, sp_series

router = session_router("/api/data", "data", family="data")

# Where the next page begins, for who reads the answer as a table.
NEXT_FROM = "Informania-Next-From"
ARROW_ANSWER = {
    "description": "A page of bars, as JSON or, if accepted, as a stream that can be sent back.",
    "content": {arrow_stream.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    "headers": {NEXT_FROM: {"schema": {"type": "string"}, "description": "as next_from"}},
}


@router.get(
    "/bars",
    summary="Read history",
    response_model=BarsPage,
    responses={
        200: ARROW_ANSWER,
        **problems(
            errors.SessionRevoked,
            errors.InstrumentNotFound,
            errors_trading.SpanInvalid,
            errors.DatabaseBusy,
        ),
    },
)
async def read_bars(
    *,
    symbol: Annotated[Symbol, Query(examples=["AAPL"])],
    resolution: Annotated[Resolution, Query()],
    first: Annotated[Moment, Query(alias="from", examples=["2026-01-02T00:00:00Z"])],
    until: Annotated[Moment, Query(examples=["2026-02-01T00:00:00Z"])],
    limit: Annotated[int, Query(ge=1, le=BARS_READ_MAX)] = 1000,
    accept: Annotated[str, Header()] = "*/*",
    actor: SignedIn,
    database: DatabaseDep,
) -> Response | BarsPage:
    """Oldest first, from `from` on and before `until`; go on with `from` = `next_from`."""
    if first > until:
        raise errors_trading.SpanInvalid()
    async with database.transaction() as connection:
        wanted = sp_series.Wanted(symbol, resolution, first, until, limit + 1)
        found = await sp_series.read_bars(connection, actor, wanted)
    bars, following = found[:limit], [bar.bar_at for bar in found[limit:]]
    next_from = following[0] if following else None
    if arrow_stream.MEDIA_TYPE not in accept.lower():
        return BarsPage(symbol=symbol, resolution=resolution, bars=bars, next_from=next_from)
    body = await asyncio.to_thread(bulk_rows.write_bars, symbol, resolution, bars)
    headers = {} if next_from is None else {NEXT_FROM: next_from}
    return Response(body, media_type=arrow_stream.MEDIA_TYPE, headers=headers)
