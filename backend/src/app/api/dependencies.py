"""What endpoints ask for, named by what it allows.

All of it is `async`, also what awaits nothing: FastAPI runs a plain function in a thread, and going
there and back costs more than the function.
"""

import re
from typing import Annotated

from fastapi import Depends, Request

from app.api.middleware import request_id_of
from app.auth.rbac import Role, live_user, require, signed_in
from app.core.errors import IdempotencyKeyInvalid
from app.core.security import Actor
from app.services.db import Database
from app.services.hot_quotes import HotQuotes
from app.services.placements import Placements
from app.services.sp_rows import SessionUser

IDEMPOTENCY_KEY = re.compile(r'(?P<quote>"?)(?P<key>[A-Za-z0-9_-]{1,36})(?P=quote)')


async def idempotency_key(request: Request) -> str | None:
    """Read the key, quoted as the draft of the IETF says, or bare."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    found = IDEMPOTENCY_KEY.fullmatch(values[0].strip())
    if len(values) > 1 or found is None:
        raise IdempotencyKeyInvalid()
    return found["key"]


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _hot_quotes(request: Request) -> HotQuotes:
    hot_quotes: HotQuotes = request.app.state.hot_quotes
    return hot_quotes


async def _placements(request: Request) -> Placements:
    placements: Placements = request.app.state.placements
    return placements


async def _request_id(request: Request) -> str:
    return request_id_of(request.scope)


DatabaseDep = Annotated[Database, Depends(_database)]
HotQuotesDep = Annotated[HotQuotes, Depends(_hot_quotes)]
PlacementsDep = Annotated[Placements, Depends(_placements)]
RequestId = Annotated[str, Depends(_request_id)]
IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]
SignedIn = Annotated[Actor, Depends(signed_in)]
LiveUser = Annotated[SessionUser, Depends(live_user)]
Trader = Annotated[SessionUser, Depends(require(Role.TRADER))]
