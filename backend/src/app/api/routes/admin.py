"""Setting up accounts, instruments, strategies, members, limits, allow-lists and cash."""

from fastapi import status

from app.api.dependencies import DatabaseDep, RequestId, SignedIn
from app.api.openapi import Responses, problems
from app.api.routing import session_router
from app.core import errors, errors_trading
from app.models.dto_admin import (
    AccountId,
    AccountSet,
    AllowListSet,
    CashBooked,
    CashMovement,
    InstrumentId,
    InstrumentSet,
    LimitsSet,
    MemberSet,
    StrategyId,
    StrategySet,
    UserRateSet,
)
from app.services import sp_admin

router = session_router("/api/admin", "admin")


def _refusals(*more: type[errors.AppError]) -> Responses:
    """Describe what every route here may refuse, and more."""
    return problems(
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        *more,
        errors.Unprocessable,
        errors.DatabaseBusy,
    )


@router.put(
    "/accounts",
    summary="Make or change an account",
    responses=_refusals(errors_trading.CurrencyFixed, errors_trading.NameTaken),
)
async def set_account(
    account: AccountSet, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> AccountId:
    """Repeating it changes nothing, as with every PUT here."""
    async with database.transaction() as connection:
        account_id = await sp_admin.account_set(connection, actor, request_id, account)
    return AccountId(account_id=str(account_id))


@router.put(
    "/instruments",
    summary="Make or change an instrument",
    responses=_refusals(errors_trading.CurrencyFixed, errors_trading.MultiplierFixed),
)
async def set_instrument(
    instrument: InstrumentSet, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> InstrumentId:
    """Known by its symbol."""
    async with database.transaction() as connection:
        instrument_id = await sp_admin.instrument_set(connection, actor, request_id, instrument)
    return InstrumentId(instrument_id=str(instrument_id))


@router.put("/strategies", summary="Make a strategy", responses=_refusals(errors.AccountNotFound))
async def set_strategy(
    strategy: StrategySet, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> StrategyId:
    """Known by its account and name."""
    async with database.transaction() as connection:
        strategy_id = await sp_admin.strategy_set(connection, actor, request_id, strategy)
    return StrategyId(strategy_id=str(strategy_id))


@router.put(
    "/members",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Make a user a member of an account",
    responses=_refusals(errors.AccountNotFound, errors_trading.UserNotFound),
)
async def set_member(
    member: MemberSet, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> None:
    """Null for `can_trade` ends the membership."""
    async with database.transaction() as connection:
        await sp_admin.member_set(connection, actor, request_id, member)


@router.put(
    "/limits",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Set the limits of an account",
    responses=_refusals(errors.AccountNotFound),
)
async def set_limits(
    limits: LimitsSet, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> None:
    """An account without limits may not trade."""
    async with database.transaction() as connection:
        await sp_admin.limits_set(connection, actor, request_id, limits)


@router.put(
    "/user-rates",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Limit a user's order rate",
    responses=_refusals(errors_trading.UserNotFound),
)
async def set_user_rate(
    rate: UserRateSet, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> None:
    """Over all accounts; the list of users shows it."""
    async with database.transaction() as connection:
        await sp_admin.user_rate_set(connection, actor, request_id, rate)


@router.put(
    "/allow-list",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Say what an account may trade",
    responses=_refusals(errors.AccountNotFound, errors.InstrumentNotFound),
)
async def set_allow_list(
    allowed: AllowListSet, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> None:
    """An empty list allows every tradable instrument."""
    async with database.transaction() as connection:
        await sp_admin.allow_list_set(connection, actor, request_id, allowed)


@router.post(
    "/cash",
    summary="Book cash",
    responses=_refusals(errors.AccountNotFound, errors.IdempotencyKeyReused),
)
async def book_cash(
    movement: CashMovement, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> CashBooked:
    """The reference is its idempotency key: the same again is not booked again."""
    async with database.transaction() as connection:
        booked = await sp_admin.cash_book(connection, actor, request_id, movement)
    return CashBooked(booked=booked)
