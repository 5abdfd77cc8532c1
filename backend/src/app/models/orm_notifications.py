"""Maps the tables of notifications; the SQL files define them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.orm_base import Base, Key, Medium


class NotifyChannel(Base):
    """Where a user is told, and of what."""

    __tablename__ = "notify_channels"
    __table_args__ = (UniqueConstraint("user_id", "name"), {"schema": "app"})
    channel_id: Mapped[Key]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.users.user_id"))
    name: Mapped[str]
    sealed: Mapped[bytes]
    fingerprint: Mapped[bytes]
    hint: Mapped[str]
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    account_ids: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    interval_s: Mapped[Medium]
    enabled: Mapped[bool]
    next_at: Mapped[datetime]
    failures: Mapped[Medium]
    last_error: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class NotifyEvent(Base):
    """What a channel is owed."""

    __tablename__ = "notify_events"
    __table_args__ = (
        Index("notify_events_channel_idx", "channel_id", "notify_id"),
        {"schema": "app"},
    )
    notify_id: Mapped[Key]
    channel_id: Mapped[int]
    account_id: Mapped[int | None]
    kind: Mapped[str]
    detail: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    dead_at: Mapped[datetime | None]
