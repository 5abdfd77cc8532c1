"""Where bridges report what happened at the venue."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import ValidationError

from app.api.dependencies import DatabaseDep, HotQuotesDep
from app.api.openapi import BATCH_REF, problems
from app.api.routing import StrictRoute
from app.auth.service_tokens import check_signature
from app.core import errors
from app.core.logging import get_logger
from app.core.problems import validation_failed
from app.core.strict_json import parse_strict_json
from app.models.bridge import Acknowledged, BridgeBatch
from app.services import sp

log = get_logger(__name__)

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"], route_class=StrictRoute)

QUOTES_SOURCE = "quantconnect"


def parse_batch(body: bytes) -> BridgeBatch:
    """Parse a delivery whose signature was found good."""
    value = parse_strict_json(body)
    try:
        return BridgeBatch.model_validate(value)
    except ValidationError as error:
        raise validation_failed(error.errors()) from error


@router.post(
    "/quantconnect",
    summary="Report events, prices and a heartbeat",
    responses=problems(
        errors.SignatureInvalid,
        errors.SourceUnknown,
        errors.EpochStale,
        errors.JsonMalformed,
        errors.BodyTooLarge,
        errors.ValidationFailed,
        errors.DatabaseUnavailable,
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": BATCH_REF}},
        }
    },
)
async def report(
    request: Request,
    database: DatabaseDep,
    hot_quotes: HotQuotesDep,
    x_bridge_signature: Annotated[str, Header()] = "",
    x_bridge_source: Annotated[str, Header()] = "",
) -> Acknowledged:
    """Answers the sequence up to which every event is kept; the rest is to be sent again."""
    body = await request.body()
    check_signature(request.app.state.settings, body=body, signature=x_bridge_signature)
    batch = parse_batch(body)
    if x_bridge_source != batch.source:
        raise errors.SignatureInvalid("X-Bridge-Source differs from the source in the body.")
    quotes = [quote.model_dump(exclude_none=True) for quote in batch.usable_quotes()]
    if len(quotes) < len(batch.quotes):
        log.warning("quotes_left_out", count=len(batch.quotes) - len(quotes), source=batch.source)
    async with database.transaction() as connection:
        acknowledged = await sp.inbox_put(
            connection,
            source=batch.source,
            deploy_id=batch.deploy_id,
            epoch=batch.epoch,
            events=batch.events,
            heartbeat=batch.heartbeat,
        )
        if quotes:
            await sp.record_quotes(connection, QUOTES_SOURCE, quotes)
    await hot_quotes.publish(QUOTES_SOURCE, quotes)
    if batch.events or batch.heartbeat:
        database.notify_poke()
    return Acknowledged(acknowledged=acknowledged)
