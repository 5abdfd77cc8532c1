"""Master data in one go: all lines are written, or none."""

from app.api.dependencies import DatabaseDep, RequestId, SignedIn
from app.api.openapi import problems
from app.api.routing import session_router
from app.core import errors, errors_trading
from app.models.dto_admin import Import, Imported
from app.services import sp_admin

# Below the prefix that takes large bodies, at the proxies too.
router = session_router("/api/data", "admin")


@router.post(
    "/import",
    summary="Import master data",
    responses=problems(
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        errors_trading.ImportRefused,
        errors.DatabaseBusy,
    ),
)
async def import_lines(
    wanted: Import, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> Imported:
    """A dry run says what would be refused and writes nothing; repeating it changes nothing."""
    async with database.transaction() as connection:
        attempt = connection.transaction()
        await attempt.start()
        faults = await sp_admin.import_lines(
            connection, actor, request_id, wanted.kind, wanted.lines
        )
        if faults or wanted.dry_run:
            await attempt.rollback()
        else:
            await attempt.commit()
    if faults:
        raise errors_trading.ImportRefused(errors=faults)
    return Imported(kind=wanted.kind, dry_run=wanted.dry_run, lines=len(wanted.lines))
