"""Maps orders, what was reported of them, and what is owed to the brokers."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    Index,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.models.orm_base import (
    AccountKey,
    AccountRef,
    Base,
    InstrumentKey,
    InstrumentRef,
    Key,
    Medium,
    OrderRef,
    Small,
    TextKey,
)

OPEN_ORDERS = "status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')"
INFLIGHT_ORDERS = (
    "status IN ('submitting', 'submit_unknown', 'submitted', 'pending_cancel', 'pending_replace')"
    " OR (order_type = 'market' AND status IN ('accepted', 'partially_filled'))"
)
ALERTING_ORDERS = "status IN ('denied', 'rejected', 'lost') OR late_fill OR overfill OR corrected"
UNAPPLIED = "applied_at IS NULL"
CANCELS = "kind = 'order.cancel.v1'"
SENDING = "last_outcome = 'sending'"


class Order(Base):
    """An order and its state."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("orders_account_idx", "account_id", "order_id"),
        Index(
            "orders_alert_idx",
            "account_id",
            text("updated_at DESC"),
            postgresql_where=text(ALERTING_ORDERS),
        ),
        Index(
            "orders_strategy_idx",
            "account_id",
            "instrument_id",
            postgresql_where=text("strategy_id IS NOT NULL"),
        ),
        Index("orders_inflight_idx", "updated_at", postgresql_where=text(INFLIGHT_ORDERS)),
        Index("orders_open_idx", "account_id", "status", postgresql_where=text(OPEN_ORDERS)),
        {"schema": "app"},
    )
    order_id: Mapped[Key]
    client_order_id: Mapped[str] = mapped_column(unique=True)
    request_hash: Mapped[bytes]
    account_id: Mapped[int]
    strategy_id: Mapped[int | None]
    instrument_id: Mapped[Medium]
    side: Mapped[str]
    order_type: Mapped[str]
    time_in_force: Mapped[str]
    expires_at: Mapped[datetime | None]
    quantity: Mapped[Decimal]
    limit_price: Mapped[Decimal | None]
    stop_price: Mapped[Decimal | None]
    status: Mapped[str]
    reason_code: Mapped[str | None]
    quantity_max: Mapped[Decimal | None]
    arrival_price: Mapped[Decimal | None]
    cum_quantity: Mapped[Decimal]
    average_price: Mapped[Decimal | None]
    late_fill: Mapped[bool]
    overfill: Mapped[bool]
    corrected: Mapped[bool]
    pending_quantity: Mapped[Decimal | None]
    pending_limit_price: Mapped[Decimal | None]
    pending_stop_price: Mapped[Decimal | None]
    origin: Mapped[str]
    broker_order_id: Mapped[str | None]
    valid_until: Mapped[datetime | None]
    queries: Mapped[Small]
    next_query_at: Mapped[datetime | None]
    created_by: Mapped[UUID | None]
    request_id: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class OrderTransition(Base):
    """A step that an order's state may take."""

    __tablename__ = "order_transitions"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    status_before: Mapped[TextKey]
    status_after: Mapped[TextKey]
    correction: Mapped[bool]


class OrderEvent(Base):
    """What was reported of an order, applied or not."""

    __tablename__ = "order_events"
    __table_args__ = (
        Index("order_events_order_idx", "order_id", "order_event_id"),
        {"schema": "app"},
    )
    order_event_id: Mapped[Key]
    order_id: Mapped[OrderRef]
    kind: Mapped[str]
    source: Mapped[str]
    status_before: Mapped[str]
    status_after: Mapped[str]
    applied: Mapped[bool]
    reason: Mapped[str | None]
    detail: Mapped[dict[str, Any]]
    event_at: Mapped[datetime]
    recorded_at: Mapped[datetime]


class Inbox(Base):
    """What a broker reported, once."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("source", "event_id"),
        Index("inbox_sequence_idx", "source", "epoch", "sequence"),
        Index("inbox_pending_idx", "shard", "inbox_id", postgresql_where=text(UNAPPLIED)),
        {"schema": "app"},
    )
    inbox_id: Mapped[Key]
    source: Mapped[str]
    event_id: Mapped[str]
    shard: Mapped[Small]
    epoch: Mapped[int]
    sequence: Mapped[int | None]
    payload: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]
    outcome: Mapped[str | None]


class Bridge(Base):
    """The far end of a route."""

    __tablename__ = "bridges"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    source: Mapped[TextKey]
    deploy_id: Mapped[str]
    epoch: Mapped[int]
    sequence: Mapped[int]
    heartbeat: Mapped[dict[str, Any]]
    heartbeat_at: Mapped[datetime]


class Execution(Base):
    """A fill, its correction or its bust."""

    __tablename__ = "executions"
    __table_args__ = (
        UniqueConstraint(
            *("account_id", "source", "exec_base", "exec_revision", "fee_revision"),
            name="executions_report_key",
        ),
        Index("executions_order_idx", "order_id"),
        Index(
            "executions_account_idx",
            *("account_id", text("executed_at DESC"), text("execution_id DESC")),
        ),
        Index("executions_time_idx", text("executed_at DESC"), text("execution_id DESC")),
        {"schema": "app"},
    )
    execution_id: Mapped[Key]
    order_id: Mapped[OrderRef]
    account_id: Mapped[AccountRef]
    instrument_id: Mapped[InstrumentRef]
    source: Mapped[str]
    exec_base: Mapped[str]
    exec_revision: Mapped[Medium]
    fee_revision: Mapped[Medium]
    kind: Mapped[str]
    corrects: Mapped[int | None] = mapped_column(
        ForeignKey("app.executions.execution_id"), unique=True
    )
    side: Mapped[str]
    quantity: Mapped[Decimal]
    price: Mapped[Decimal]
    currency: Mapped[str]
    fee: Mapped[Decimal | None]
    fee_currency: Mapped[str | None]
    executed_at: Mapped[datetime]
    recorded_at: Mapped[datetime]


class Position(Base):
    """The fold of an account's executions in one instrument."""

    __tablename__ = "positions"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    account_id: Mapped[AccountKey]
    instrument_id: Mapped[InstrumentKey]
    quantity: Mapped[Decimal]
    cost: Mapped[Decimal]
    realized_pnl: Mapped[Decimal]
    fees: Mapped[Decimal]
    updated_at: Mapped[datetime]


class IntegrityBreak(Base):
    """A figure that is not what its rows make it."""

    __tablename__ = "integrity_breaks"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    account_id: Mapped[AccountKey]
    figure: Mapped[TextKey]
    subject: Mapped[TextKey]
    ours: Mapped[Decimal]
    expected: Mapped[Decimal]
    found_at: Mapped[datetime]


class ReconBreak(Base):
    """Where our books and a broker's differ."""

    __tablename__ = "recon_breaks"
    __table_args__ = (
        Index(
            "recon_breaks_live_idx",
            "account_id",
            "figure",
            "subject",
            unique=True,
            postgresql_where=text("state IN ('suspected', 'open')"),
        ),
        {"schema": "app"},
    )
    break_id: Mapped[Key]
    account_id: Mapped[AccountRef]
    figure: Mapped[str]
    subject: Mapped[str]
    ours: Mapped[Decimal]
    theirs: Mapped[Decimal]
    times: Mapped[Medium]
    state: Mapped[str]
    found_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None]
    reason: Mapped[str | None]


class OutboxEvent(Base):
    """What is owed to a broker."""

    __tablename__ = "events_outbox"
    __table_args__ = (
        Index("events_outbox_lane_idx", "stream_id", "event_id"),
        Index("events_outbox_cancel_idx", "stream_id", "event_id", postgresql_where=text(CANCELS)),
        Index("events_outbox_sending_idx", "stream_id", postgresql_where=text(SENDING)),
        Index("events_outbox_order_idx", "order_id", "event_id"),
        {"schema": "app"},
    )
    event_id: Mapped[Key]
    shard: Mapped[Small]
    stream_id: Mapped[int]
    kind: Mapped[str]
    order_id: Mapped[int]
    payload: Mapped[dict[str, Any]]
    request_id: Mapped[str]
    attempts: Mapped[Small]
    last_outcome: Mapped[str | None]
    last_action: Mapped[str | None]
    sending_epoch: Mapped[int | None]
    sending_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class _ArchivedEvent:
    """The columns of an outbox row that left the outbox."""

    event_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard: Mapped[Small]
    stream_id: Mapped[int]
    kind: Mapped[str]
    order_id: Mapped[int]
    payload: Mapped[dict[str, Any]]
    request_id: Mapped[str]
    attempts: Mapped[Small]
    outcome: Mapped[str]
    created_at: Mapped[datetime]
    done_at: Mapped[datetime]


class DoneEvent(_ArchivedEvent, Base):
    """What was owed and is done; partitioned by time, so the key exists here alone."""

    __tablename__ = "events_done"
    __table_args__ = (Index("events_done_order_idx", "order_id"), {"schema": "app"})


class DeadEvent(_ArchivedEvent, Base):
    """What was owed and needs an operator."""

    __tablename__ = "events_dead"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    error: Mapped[str]


class ParkedLane(Base):
    """A lane that must wait."""

    __tablename__ = "outbox_parked"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    stream_id: Mapped[int] = mapped_column(ForeignKey("app.streams.stream_id"), primary_key=True)
    next_attempt_at: Mapped[datetime]
    attempts: Mapped[Medium]
    last_error: Mapped[str]
    cancels_pass: Mapped[bool]


class OutboxQuarantine(Base):
    """One row after a restore, until somebody has reconciled."""

    __tablename__ = "outbox_quarantine"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    only_one: Mapped[bool] = mapped_column(primary_key=True)
    actor: Mapped[str]
    reason: Mapped[str]
    started_at: Mapped[datetime]


class OutboxShard(Base):
    """Who may send for a shard."""

    __tablename__ = "outbox_shards"
    __table_args__ = {"schema": "app"}  # noqa: RUF012
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    owner: Mapped[str | None]
    epoch: Mapped[int]
    lease_until: Mapped[datetime]
    locked: Mapped[bool]
