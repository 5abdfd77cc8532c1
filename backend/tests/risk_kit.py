"""What the tests of the risk rules share: limits, positions and previews of a desk."""

from decimal import Decimal
from typing import Any

import asyncpg
from sp_world import Request, World

PREVIEW = "SELECT * FROM app.sp_preview_order($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
VERDICT = ("reason_code", "quantity_max")


async def limit(desk: World, account: int | None = None, **limits: object) -> None:
    """Change limits of an account, all others stay."""
    names = ", ".join(f"p_{name} => ${number}" for number, name in enumerate(limits, start=2))
    call = "app.sp_risk_limits_set('system:test', $1, NULL, NULL, NULL, "
    if set(limits) & {"order_quantity_max", "order_notional_max", "price_collar"}:
        first = ("order_quantity_max", "order_notional_max", "price_collar")
        names += "".join(f", p_{name} => NULL" for name in first if name not in limits)
        call = "app.sp_risk_limits_set('system:test', $1, "
    await desk.migrate.execute(f"SELECT {call}{names})", account or desk.account, *limits.values())


async def hold(desk: World, quantity: int, symbol: str = "AAPL", price: int = 100) -> None:
    """Give the account a position, paid for before the day began."""
    await desk.root.execute(
        "INSERT INTO app.positions (account_id, instrument_id, quantity, cost)"
        " SELECT $1, instrument_id, $2, $2 * $4::numeric FROM app.instruments WHERE symbol = $3",
        *(desk.account, Decimal(quantity), symbol, Decimal(price)),
    )
    await desk.root.execute(
        "UPDATE app.day_equity SET equity = equity + $2 WHERE account_id = $1",
        *(desk.account, Decimal(quantity * price)),
    )


async def preview(desk: World, request: Request) -> asyncpg.Record:
    """Preview an order."""
    arguments = request.arguments()
    return await desk.api.fetchrow(PREVIEW, *arguments[:2], *arguments[4:])


async def verdict(desk: World, **changes: Any) -> tuple[str | None, Decimal | None]:
    """Place an order; return why it was denied and the largest size that would have passed."""
    placed = await desk.place(**changes)
    return placed["reason_code"], placed["quantity_max"]
