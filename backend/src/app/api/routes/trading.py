"""The switches: halt, reduce, resume."""

from app.api.dependencies import DatabaseDep, RequestId, SignedIn
from app.api.openapi import problems
from app.api.routing import session_router
from app.core import errors
from app.models.dto import TradingHalt, TradingState, TradingStateSet
from app.services import sp
from app.services.db import Database

router = session_router("/api/trading", "trading")

REFUSALS = problems(
    errors.SessionRevoked,
    errors.RoleNotAllowed,
    errors.NotAllowedToTrade,
    errors.AccountNotFound,
    errors.StrategyNotFound,
    errors.DatabaseBusy,
)


@router.post("/halt", summary="Stop new orders", responses=REFUSALS)
async def halt(
    scope: TradingHalt, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> TradingStateSet:
    """Denies every new order of the scope; what works at the venue stays unless `cancel_open`."""
    return await _set_state("halted", scope, actor, request_id, database)


@router.post("/reduce", summary="Let positions shrink only", responses=REFUSALS)
async def reduce(
    scope: TradingState, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> TradingStateSet:
    """Denies every new order that would open or grow a position."""
    return await _set_state("reducing", scope, actor, request_id, database)


@router.post("/resume", summary="Trade again", responses=REFUSALS)
async def resume(
    scope: TradingState, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> TradingStateSet:
    """Takes the halt or the reduction back; administrators only."""
    return await _set_state("active", scope, actor, request_id, database)


async def _set_state(
    state: str, scope: TradingState, actor: SignedIn, request_id: str, database: Database
) -> TradingStateSet:
    scope_id = int(scope.scope_id or 0)
    # The cancels of thousands of orders take a while; the halt itself does not wait for them.
    canceling = isinstance(scope, TradingHalt) and scope.cancel_open
    steps = (False, True) if canceling else (False,)
    for cancel_open in steps:
        async with database.transaction() as connection:
            state_now = await sp.trading_state_set(
                connection,
                actor,
                request_id,
                scope=scope.scope,
                scope_id=scope_id,
                state=state,
                reason=scope.reason,
                cancel_open=cancel_open,
            )
    if canceling:
        database.notify_poke()
    return TradingStateSet(scope=scope.scope, scope_id=str(scope_id), state=state_now)
