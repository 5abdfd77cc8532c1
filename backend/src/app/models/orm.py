"""Maps the tables, for typed reads and for the test that finds drift; the SQL files define them."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models import orm_market, orm_notifications, orm_orders  # noqa: F401 (one metadata for all)
from app.models.orm_base import (
    AccountKey,
    AccountRef,
    Base,
    InstrumentKey,
    Key,
    Medium,
    OpenBound,
    TextKey,
)


class Repeatable(Base):
    """A file without data, as it was last laid."""

    __tablename__ = "repeatable"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    path: Mapped[TextKey]
    sha256: Mapped[str]
    applied_at: Mapped[datetime]


class User(Base):
    """Someone who signs in, mirrored from the identity provider."""

    __tablename__ = "users"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    disabled: Mapped[bool]
    orders_per_minute_max: Mapped[Medium]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Stream(Base):
    """The order of everything written to an account, and the head of its audit chain."""

    __tablename__ = "streams"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    stream_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int]
    head: Mapped[bytes]
    rate_at: Mapped[datetime]
    open_bound: Mapped[tuple[int, Decimal, Decimal, Decimal | None] | None] = mapped_column(
        OpenBound
    )


class UserRate(Base):
    """The order rate of a user."""

    __tablename__ = "user_rates"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.users.user_id"), primary_key=True)
    rate_at: Mapped[datetime]


class Account(Base):
    """Where orders, positions and cash belong."""

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("route", "broker_account"),
        {"schema": "app"},
    )
    account_id: Mapped[Key]
    name: Mapped[str] = mapped_column(unique=True)
    currency: Mapped[str]
    route: Mapped[str]
    broker_account: Mapped[str]
    broker: Mapped[str]
    paper: Mapped[bool]
    created_at: Mapped[datetime]


class AccountMember(Base):
    """Who sees an account, and who may trade on it."""

    __tablename__ = "account_members"
    __table_args__ = (
        Index("account_members_user_idx", "user_id", "account_id"),
        {"schema": "app"},
    )
    account_id: Mapped[AccountKey]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.users.user_id"), primary_key=True)
    can_trade: Mapped[bool]


class Strategy(Base):
    """What an order was placed for."""

    __tablename__ = "strategies"
    __table_args__ = (
        UniqueConstraint("account_id", "name"),
        {"schema": "app"},
    )
    strategy_id: Mapped[Key]
    account_id: Mapped[AccountRef]
    name: Mapped[str]
    created_at: Mapped[datetime]


class Instrument(Base):
    """What can be traded."""

    __tablename__ = "instruments"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    instrument_id: Mapped[int] = mapped_column(Integer, Identity(always=True), primary_key=True)
    symbol: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    currency: Mapped[str]
    tick_size: Mapped[Decimal]
    lot_size: Mapped[Decimal]
    multiplier: Mapped[Decimal]
    tradable: Mapped[bool]


class AccountInstrument(Base):
    """What an account may trade, when it may not trade everything."""

    __tablename__ = "account_instruments"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    account_id: Mapped[AccountKey]
    instrument_id: Mapped[InstrumentKey]


class RouteCapability(Base):
    """What a route can do."""

    __tablename__ = "route_capabilities"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    route: Mapped[TextKey]
    order_type: Mapped[TextKey]
    time_in_force: Mapped[TextKey]


class DenialCode(Base):
    """Why our risk rules deny an order."""

    __tablename__ = "denial_codes"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    code: Mapped[TextKey]
    meaning: Mapped[str]


class TradingState(Base):
    """A switch that halts or reduces trading."""

    __tablename__ = "trading_states"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    scope: Mapped[TextKey]
    scope_id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    reason: Mapped[str]
    changed_by: Mapped[str]
    changed_at: Mapped[datetime]


class RiskLimits(Base):
    """What the orders of an account may be."""

    __tablename__ = "risk_limits"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    account_id: Mapped[AccountKey]
    order_quantity_max: Mapped[Decimal]
    order_notional_max: Mapped[Decimal]
    price_collar: Mapped[Decimal]
    position_quantity_max: Mapped[Decimal]
    open_orders_max: Mapped[Medium]
    orders_per_minute_max: Mapped[Medium]
    daily_loss_max: Mapped[Decimal]
    leverage_max: Mapped[Decimal]
    updated_at: Mapped[datetime]


class DayEquity(Base):
    """What an account was worth when its day began."""

    __tablename__ = "day_equity"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    account_id: Mapped[AccountKey]
    day: Mapped[date]
    equity: Mapped[Decimal]


class CashBalance(Base):
    """Cash of an account in one currency."""

    __tablename__ = "cash_balances"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    account_id: Mapped[AccountKey]
    currency: Mapped[TextKey]
    amount: Mapped[Decimal]
    fees: Mapped[Decimal]


class CashMovement(Base):
    """Cash that no execution moved."""

    __tablename__ = "cash_movements"
    __table_args__ = (
        UniqueConstraint("account_id", "currency", "kind", "reference"),
        {"schema": "app"},
    )
    cash_movement_id: Mapped[Key]
    account_id: Mapped[AccountRef]
    currency: Mapped[str]
    amount: Mapped[Decimal]
    kind: Mapped[str]
    reference: Mapped[str]
    created_at: Mapped[datetime]


class Idempotency(Base):
    """The answer of a write that carried a key and made no order."""

    __tablename__ = "idempotency"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    actor: Mapped[TextKey]
    route: Mapped[TextKey]
    key: Mapped[TextKey]
    request_hash: Mapped[bytes]
    response: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class RevokedSession(Base):
    """A session that has ended."""

    __tablename__ = "revoked_sessions"
    __table_args__ = {"schema": "security"}  # noqa: RUF012
    session_handle: Mapped[TextKey]
    user_id: Mapped[UUID]
    revoked_at: Mapped[datetime]


class ServiceToken(Base):
    """What a program signs in with."""

    __tablename__ = "service_tokens"
    __table_args__ = {"schema": "security"}  # noqa: RUF012
    token_id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("app.users.user_id"))
    name: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    account_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    created_by: Mapped[UUID] = mapped_column(ForeignKey("app.users.user_id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class TokenKey(Base):
    """A key of the tokens that row security believes."""

    __tablename__ = "token_keys"
    __table_args__ = {"schema": "security"}  # noqa: RUF012
    key_id: Mapped[TextKey]
    inner_block: Mapped[bytes]
    outer_block: Mapped[bytes]
    created_at: Mapped[datetime]


class AuditEntry(Base):
    """One link of a stream's chain."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index(
            "audit_log_order_idx",
            "stream_id",
            text("(detail ->> 'order_id')"),
            postgresql_where=text("detail ? 'order_id'"),
        ),
        {"schema": "audit"},
    )
    stream_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch_us: Mapped[int]
    actor: Mapped[str]
    db_user: Mapped[str]
    action: Mapped[str]
    detail: Mapped[dict[str, Any]]
    prev_hash: Mapped[bytes]
    hash: Mapped[bytes]


class Anchor(Base):
    """A signed Merkle root of all heads, as it was put outside the database."""

    __tablename__ = "anchors"
    __table_args__ = (Index("anchors_time_idx", "anchored_at"), {"schema": "audit"})
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    anchored_at: Mapped[datetime]
    statement: Mapped[str]
    signature: Mapped[bytes]
    public_key: Mapped[bytes]
    heads: Mapped[list[Any]] = mapped_column(JSONB)
