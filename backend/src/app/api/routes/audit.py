"""Is the audit log as it was, and what proves the history of an order?"""

import time

from app.api.dependencies import DatabaseDep, SignedIn
from app.api.openapi import problems
from app.api.routes.orders import OrderId
from app.api.routing import session_router
from app.core import errors
from app.models.dto_audit import AuditVerified, AuditVerify, ChainBroken, OrderHistory
from app.services import sp_audit

router = session_router("/api/audit", "audit")


@router.post(
    "/verify",
    summary="Verify the audit chains",
    responses=problems(
        errors.SessionRevoked, errors.RoleNotAllowed, errors.AccountNotFound, errors.DatabaseBusy
    ),
)
async def verify(wanted: AuditVerify, actor: SignedIn, database: DatabaseDep) -> AuditVerified:
    """Answers the first broken row of each chain and why; administrators only."""
    began = time.monotonic()
    reports = await sp_audit.verify(database, actor, wanted.account_id)
    return AuditVerified(
        chains=len(reports),
        rows=sum(report.checked for report in reports),
        seconds=round(time.monotonic() - began, 3),
        broken=[
            ChainBroken(
                account_id=str(report.stream_id),
                broken_seq=str(report.broken_seq),
                why=str(report.why),
            )
            for report in reports
            if not report.is_whole
        ],
    )


@router.get(
    "/orders/{order_id}",
    summary="Export the history of an order",
    responses=problems(
        errors.SessionRevoked, errors.OrderNotFound, errors.Unprocessable, errors.DatabaseBusy
    ),
)
async def export_order(order_id: OrderId, actor: SignedIn, database: DatabaseDep) -> OrderHistory:
    """For members of its account and administrators; docs/audit.md says how to check it."""
    async with database.transaction() as connection:
        return OrderHistory(**await sp_audit.export_order(connection, actor, int(order_id)))
