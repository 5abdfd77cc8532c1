"""Where bridges report what happened at the venue."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import ValidationError

from app.api.dependencies import DatabaseDep, HotQuotesDep
from app.api.openapi import BATCH_REF, problems
from app.api.routing import StrictRoute
from app.auth.service_tokens import check_signature
from app.core import errors
from app.core.problems import validation_failed
from app.core.strict_json import parse_strict_json
from app.models.bridge import Acknowledged, BridgeBatch
from app.services import quotes, sp
from app.services.poke import INBOX

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"], route_class=StrictRoute)


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
    bridge = quotes.BridgeQuotes(batch.quotes)
    heard = await bridge.take()
    # Events and prices count together; events alone are one statement, and one round trip.
    lent = database.transaction() if heard else database.single_statement()
    async with lent as connection:
        acknowledged = await sp.inbox_put(
            connection,
            source=batch.source,
            deploy_id=batch.deploy_id,
            epoch=batch.epoch,
            events=batch.events,
            heartbeat=batch.heartbeat,
        )
        recorded = await quotes.record(connection, bridge.name, heard)
    await hot_quotes.publish(bridge.name, recorded)
    if batch.events:
        database.notify_poke(INBOX)
    return Acknowledged(acknowledged=acknowledged)
