"""What an order would do, before it is placed."""

from collections.abc import Iterator
from decimal import Decimal

from app.api.dependencies import DatabaseDep, SignedIn
from app.api.openapi import problems
from app.api.routing import session_router
from app.core import errors
from app.models.dto import number_text
from app.models.dto_orders import LimitUse, PlaceOrder, Preview
from app.services import sp
from app.services.sp_rows import NewOrder, OrderPreview

router = session_router("/api/orders", "orders", family="orders")


@router.post(
    "/preview",
    summary="Preview an order",
    responses=problems(
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        errors.NotAllowedToTrade,
        errors.AccountNotFound,
        errors.StrategyNotFound,
        errors.InstrumentNotFound,
        errors.DatabaseBusy,
    ),
)
async def preview_order(order: PlaceOrder, actor: SignedIn, database: DatabaseDep) -> Preview:
    """Runs the rules of placing and writes nothing; an order that would be denied is 200 too."""
    wanted = NewOrder(client_order_id="preview", **dict(order))
    async with database.transaction() as connection:
        found = await sp.preview_order(connection, actor, wanted)
    return Preview(
        would="accept" if found.reason_code is None else "deny",
        reason_code=found.reason_code,
        quantity_max=_text(found.quantity_max),
        account_id=str(order.account_id),
        symbol=order.symbol,
        currency=found.currency,
        notional=_text(found.notional),
        estimated_fee=_text(found.estimated_fee),
        mark_price=_text(found.mark_price),
        mark_age_s=None if found.mark_age_s is None else max(0.0, round(found.mark_age_s, 3)),
        position_before=number_text(found.position_before),
        position_after=number_text(found.position_after),
        cash_before=number_text(found.cash_before),
        cash_after=_text(found.cash_after),
        limits=list(_limits(order, found)),
        warnings=list(_warnings(order, found)),
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else number_text(value)


def _limits(order: PlaceOrder, found: OrderPreview) -> Iterator[LimitUse]:
    mark, price = found.mark_price, order.limit_price
    away = abs(price - mark) / mark if mark and price else None
    uses = (
        ("order_quantity", order.quantity, found.order_quantity_max),
        ("order_notional", found.notional, found.order_notional_max),
        ("price_collar", away, found.price_collar),
    )
    for name, used, limit in uses:
        if used is not None and limit is not None:
            yield LimitUse.model_validate(
                {"name": name, "used": number_text(used), "limit": number_text(limit)}
            )


def _warnings(order: PlaceOrder, found: OrderPreview) -> Iterator[str]:
    """Say what is allowed and still deserves a second look."""
    before, after = found.position_before, found.position_after
    if after < 0 <= before:
        yield "This sells more than the account holds: the position becomes short."
    if before < 0 < after:
        yield "This buys back more than the account is short: the position becomes long."
    if order.side == "buy" and found.cash_after is not None and found.cash_after < 0:
        yield "The cash of the account does not cover this order."
    if _fills_at_once(order, found.mark_price):
        yield "The limit price is at or beyond the last price: the order may fill at once."
    if found.open_orders:
        orders = "1 open order" if found.open_orders == 1 else f"{found.open_orders} open orders"
        yield f"The account has {orders} for {order.symbol}, not counted in position and cash here."


def _fills_at_once(order: PlaceOrder, mark: Decimal | None) -> bool:
    if mark is None or order.limit_price is None or order.order_type != "limit":
        return False
    return order.limit_price >= mark if order.side == "buy" else order.limit_price <= mark
