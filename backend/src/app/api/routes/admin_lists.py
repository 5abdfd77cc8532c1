"""What administrators set up, to be read."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Query

from app.api.dependencies import DatabaseDep, SignedIn
from app.api.openapi import problems
from app.api.routing import session_router
from app.core import errors
from app.models import dto_admin, dto_notifications, dto_operations, dto_tokens
from app.models.dto import Outbound
from app.services import sp_admin

router = session_router("/api/admin", "admin")

Offset = Annotated[str, Query(pattern=r"^(0|[1-9][0-9]{0,8})$", description="Rows to pass over")]
# path -> what a row is
LISTS: dict[str, type[Outbound]] = {
    "users": dto_admin.UserShown,
    "accounts": dto_admin.AccountShown,
    "instruments": dto_admin.InstrumentShown,
    "strategies": dto_admin.StrategyShown,
    "members": dto_admin.MemberShown,
    "limits": dto_admin.LimitsShown,
    "allow-lists": dto_admin.AllowListShown,
    "cash": dto_admin.CashShown,
    "trading-states": dto_admin.TradingStateShown,
    "tokens": dto_tokens.TokenShown,
    "outbox": dto_operations.OutboxShown,
    "lost-orders": dto_operations.LostOrderShown,
    "recon-breaks": dto_operations.BreakShown,
    "notifications": dto_notifications.AnyChannelShown,
}


def _reader(path: str, row: type[Outbound]) -> Callable[..., Awaitable[Any]]:
    kind = path.replace("-", "_")

    async def read(actor: SignedIn, database: DatabaseDep, offset: Offset = "0") -> Any:
        """Answers up to 500 rows."""
        async with database.transaction() as connection:
            found = await sp_admin.admin_list(connection, actor, kind, int(offset))
        full = len(found) == sp_admin.ROWS_A_PAGE
        following = str(int(offset) + len(found)) if full else None
        items = [row.model_validate(one) for one in found]
        return dto_admin.Page(items=items, next=following)

    read.__name__ = f"read_{kind}"
    return read


for _path, _row in LISTS.items():
    router.add_api_route(
        f"/{_path}",
        _reader(_path, _row),
        methods=["GET"],
        response_model=dto_admin.Page[_row],  # type: ignore[valid-type]
        summary=f"List {_path.replace('-', ' ')}",
        responses=problems(errors.SessionRevoked, errors.RoleNotAllowed, errors.DatabaseBusy),
    )
