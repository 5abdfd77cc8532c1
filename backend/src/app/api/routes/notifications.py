"""What its user is told of, and where: channels of his own."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, status

from app.api.dependencies import DatabaseDep, RequestId, SignedIn
from app.api.openapi import problems
from app.api.routing import session_router
from app.core import errors, errors_operations
from app.core.settings import Settings
from app.models.dto import ID_PATTERN
from app.models.dto_notifications import CHANNEL_PATTERN, Channels, ChannelSet, ChannelShown
from app.services import sp_notifications
from app.services.notify_addresses import AddressRefused, Sealer, hint_of
from app.services.sp_notifications import Channel

router = session_router("/api/notifications", "notifications")
admin_router: APIRouter = session_router("/api/admin/notifications", "admin")

NamePath = Annotated[str, Path(pattern=CHANNEL_PATTERN, description="What you call the channel")]
IdPath = Annotated[str, Path(pattern=ID_PATTERN, description="The channel_id of a channel")]


@router.get("", summary="List my channels", responses=problems(errors.SessionRevoked))
async def read_channels(actor: SignedIn, database: DatabaseDep) -> Channels:
    """Shows a hint of each address, never the address."""
    async with database.transaction() as connection:
        found = await sp_notifications.notify_list(connection, actor)
    return Channels(items=[ChannelShown.model_validate(_own(one)) for one in found])


@router.put(
    "/{name}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Make or change a channel",
    responses=problems(
        errors.SessionRevoked,
        errors.AccountNotFound,
        errors_operations.ChannelsFull,
        errors_operations.AddressNotAllowed,
        errors.Unprocessable,
        errors.DatabaseBusy,
    ),
)
async def set_channel(
    name: NamePath,
    wanted: ChannelSet,
    *,
    request: Request,
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
) -> None:
    """Without an address it keeps the one it has; repeating it changes nothing."""
    settings: Settings = request.app.state.settings
    sealed = fingerprint = hint = None
    if wanted.url is not None:
        url = wanted.url.get_secret_value()
        try:
            hint = hint_of(url, allow_private=settings.notify_allow_private)
        except AddressRefused as refusal:
            raise errors_operations.AddressNotAllowed(
                f"The address is refused: {refusal}."
            ) from None
        sealer = Sealer(settings.secret("webhook_hmac"))
        sealed, fingerprint = sealer.seal(url), sealer.fingerprint(url)
    channel = Channel(
        name=name,
        sealed=sealed,
        fingerprint=fingerprint,
        hint=hint,
        kinds=list(wanted.kinds),
        account_ids=wanted.account_ids,
        interval_s=wanted.interval_s,
        enabled=wanted.enabled,
    )
    async with database.transaction() as connection:
        await sp_notifications.notify_set(connection, actor, request_id, channel)


@router.delete(
    "/{name}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="End a channel",
    responses=problems(
        errors.SessionRevoked, errors_operations.ChannelNotFound, errors.DatabaseBusy
    ),
)
async def remove_channel(
    name: NamePath, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> None:
    """What it was still to tell is forgotten."""
    async with database.transaction() as connection:
        await sp_notifications.notify_remove(connection, actor, request_id, name)


@router.post(
    "/{name}/test",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Send a test message",
    responses=problems(
        errors.SessionRevoked, errors_operations.ChannelNotFound, errors.DatabaseBusy
    ),
)
async def send_test(
    name: NamePath, actor: SignedIn, request_id: RequestId, database: DatabaseDep
) -> None:
    """It goes when the channel's next message may; the list shows what became of it."""
    async with database.transaction() as connection:
        await sp_notifications.notify_test(connection, actor, request_id, name)


@admin_router.post(
    "/{channel_id}/{action}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Let given-up messages go on, or end a channel",
    responses=problems(
        errors.SessionRevoked,
        errors.RoleNotAllowed,
        errors_operations.ChannelNotFound,
        errors.DatabaseBusy,
    ),
)
async def change_channel(
    channel_id: IdPath,
    action: Literal["requeue", "remove"],
    actor: SignedIn,
    request_id: RequestId,
    database: DatabaseDep,
) -> None:
    """Anyone's channel; its address stays his."""
    async with database.transaction() as connection:
        await sp_notifications.admin_notify(connection, actor, request_id, int(channel_id), action)


def _own(channel: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in channel.items() if name not in ("channel_id", "user_id")}
