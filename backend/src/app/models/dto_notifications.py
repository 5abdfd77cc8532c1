"""Notifications on the wire: channels as they are set and shown."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from app.models.dto import Identifier, Inbound, Outbound
from app.models.dto_admin import IdShown, MomentShown
from app.models.dto_tokens import MomentOrNever

CHANNEL_PATTERN = r"^[A-Za-z0-9_-]{1,40}$"
Kind = Literal["fill", "reject", "break", "halt", "lost"]


class ChannelSet(Inbound):
    """What a channel is to be; an address that is not given stays as it is."""

    url: Annotated[SecretStr, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="An Apprise URL: mailto(s), jsons, or a chat service"
    )
    kinds: Annotated[list[Kind], Field(max_length=5)]
    account_ids: Annotated[list[Identifier], Field(max_length=100)] | None = Field(
        default=None, description="Without it: every account that you may see"
    )
    interval_s: Annotated[int, Field(ge=10, le=86400)] = 60
    enabled: bool = True


class ChannelShown(Outbound):
    """A channel as its user sees it; never the address."""

    name: Annotated[str, StringConstraints(pattern=CHANNEL_PATTERN)]
    hint: str
    kinds: list[str]
    account_ids: list[IdShown] | None
    interval_s: int
    enabled: bool
    failures: int
    last_error: str | None
    sent_at: MomentOrNever
    created_at: MomentShown
    pending: int
    dead: int


class Channels(Outbound):
    """All channels of a user."""

    items: list[ChannelShown]


class AnyChannelShown(ChannelShown):
    """The same as an administrator sees it."""

    channel_id: IdShown
    user_id: str
    email: str
