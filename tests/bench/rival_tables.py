"""The rival's own tables and their mapping: what an order needs, no hash chain, no row security."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Numeric, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CLOSED = ("denied", "filled", "canceled", "rejected", "expired")

# Of what the platform's rules read, the same rows and indexes.
TABLES = """
CREATE SCHEMA rival AUTHORIZATION app_write;
CREATE TABLE rival.users AS SELECT user_id, role, disabled FROM app.users;
ALTER TABLE rival.users ADD PRIMARY KEY (user_id);
CREATE TABLE rival.revoked_sessions (session_handle text PRIMARY KEY);
CREATE TABLE rival.accounts AS SELECT account_id, currency, route FROM app.accounts;
ALTER TABLE rival.accounts ADD PRIMARY KEY (account_id), ADD order_due_at timestamptz;
CREATE TABLE rival.members AS SELECT account_id, user_id, can_trade FROM app.account_members;
ALTER TABLE rival.members ADD PRIMARY KEY (account_id, user_id);
CREATE TABLE rival.limits AS SELECT * FROM app.risk_limits;
ALTER TABLE rival.limits ADD PRIMARY KEY (account_id);
CREATE TABLE rival.trading_states (
    scope text, scope_id bigint, state text NOT NULL, PRIMARY KEY (scope, scope_id)
);
CREATE TABLE rival.capabilities AS SELECT * FROM app.route_capabilities;
ALTER TABLE rival.capabilities ADD PRIMARY KEY (route, order_type, time_in_force);
CREATE TABLE rival.instruments AS
SELECT instrument_id, symbol, currency, tick_size, lot_size, tradable FROM app.instruments;
ALTER TABLE rival.instruments ADD PRIMARY KEY (instrument_id), ADD UNIQUE (symbol);
CREATE TABLE rival.prices AS
SELECT instrument_id, 100::numeric AS price, now() AS received_at FROM app.instruments;
ALTER TABLE rival.prices ADD PRIMARY KEY (instrument_id);
CREATE TABLE rival.cash AS SELECT account_id, currency, amount FROM app.cash_balances;
ALTER TABLE rival.cash ADD PRIMARY KEY (account_id, currency);
CREATE TABLE rival.day_equity AS SELECT account_id, day, equity FROM app.day_equity;
ALTER TABLE rival.day_equity ADD PRIMARY KEY (account_id);
CREATE TABLE rival.positions (
    account_id bigint, instrument_id bigint, quantity numeric NOT NULL,
    PRIMARY KEY (account_id, instrument_id)
);
CREATE TABLE rival.orders (
    order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_order_id text NOT NULL UNIQUE,
    account_id bigint NOT NULL REFERENCES rival.accounts,
    instrument_id bigint NOT NULL REFERENCES rival.instruments,
    side text NOT NULL, order_type text NOT NULL, time_in_force text NOT NULL,
    quantity numeric NOT NULL, limit_price numeric, cum_quantity numeric NOT NULL DEFAULT 0,
    status text NOT NULL, reason_code text, created_by uuid NOT NULL,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE INDEX ON rival.orders (account_id, created_at DESC);
CREATE INDEX ON rival.orders (account_id, status)
WHERE status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired');
CREATE TABLE rival.audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id bigint NOT NULL,
    actor text NOT NULL, action text NOT NULL, detail jsonb NOT NULL, at timestamptz NOT NULL
);
CREATE INDEX ON rival.audit_log (account_id, audit_id);
CREATE TABLE rival.outbox (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES rival.orders, kind text NOT NULL, payload jsonb NOT NULL
);
GRANT ALL ON ALL TABLES IN SCHEMA rival TO app_write;
ANALYZE;
"""


class Base(DeclarativeBase):
    """The rival's tables."""

    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own form)
        int: BigInteger, str: Text, Decimal: Numeric, datetime: DateTime(timezone=True)
    }  # fmt: skip
    __table_args__ = {"schema": "rival"}  # noqa: RUF012


class User(Base):
    """Who places."""

    __tablename__ = "users"
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    role: Mapped[str]
    disabled: Mapped[bool]


class RevokedSession(Base):
    """A session that was signed out."""

    __tablename__ = "revoked_sessions"
    session_handle: Mapped[str] = mapped_column(primary_key=True)


class Account(Base):
    """Where it is placed, and when the next order is due by its rate."""

    __tablename__ = "accounts"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    currency: Mapped[str]
    route: Mapped[str]
    order_due_at: Mapped[datetime | None]


class Member(Base):
    """Who may trade there."""

    __tablename__ = "members"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    can_trade: Mapped[bool]


class Limits(Base):
    """The limits of an account."""

    __tablename__ = "limits"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    order_quantity_max: Mapped[Decimal]
    order_notional_max: Mapped[Decimal]
    price_collar: Mapped[Decimal]
    position_quantity_max: Mapped[Decimal]
    open_orders_max: Mapped[int]
    orders_per_minute_max: Mapped[int]
    daily_loss_max: Mapped[Decimal]
    leverage_max: Mapped[Decimal]


class TradingState(Base):
    """Whether trading is halted."""

    __tablename__ = "trading_states"
    scope: Mapped[str] = mapped_column(primary_key=True)
    scope_id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]


class Capability(Base):
    """What a route can do."""

    __tablename__ = "capabilities"
    route: Mapped[str] = mapped_column(primary_key=True)
    order_type: Mapped[str] = mapped_column(primary_key=True)
    time_in_force: Mapped[str] = mapped_column(primary_key=True)


class Instrument(Base):
    """What is traded."""

    __tablename__ = "instruments"
    instrument_id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str]
    currency: Mapped[str]
    tick_size: Mapped[Decimal]
    lot_size: Mapped[Decimal]
    tradable: Mapped[bool]


class Price(Base):
    """The last price of an instrument."""

    __tablename__ = "prices"
    instrument_id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal]
    received_at: Mapped[datetime]


class Cash(Base):
    """What an account owns in a currency."""

    __tablename__ = "cash"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[Decimal]


class DayEquity(Base):
    """What an account was worth when its day began."""

    __tablename__ = "day_equity"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date]
    equity: Mapped[Decimal]


class Position(Base):
    """What an account holds of an instrument."""

    __tablename__ = "positions"
    account_id: Mapped[int] = mapped_column(primary_key=True)
    instrument_id: Mapped[int] = mapped_column(primary_key=True)
    quantity: Mapped[Decimal]


class Order(Base):
    """An order, once."""

    __tablename__ = "orders"
    order_id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    client_order_id: Mapped[str]
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.account_id))
    instrument_id: Mapped[int] = mapped_column(ForeignKey(Instrument.instrument_id))
    side: Mapped[str]
    order_type: Mapped[str]
    time_in_force: Mapped[str]
    quantity: Mapped[Decimal]
    limit_price: Mapped[Decimal | None]
    cum_quantity: Mapped[Decimal]
    status: Mapped[str]
    reason_code: Mapped[str | None]
    created_by: Mapped[UUID]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Audit(Base):
    """What was done."""

    __tablename__ = "audit_log"
    audit_id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    account_id: Mapped[int]
    actor: Mapped[str]
    action: Mapped[str]
    detail: Mapped[dict[str, str]] = mapped_column(JSONB)
    at: Mapped[datetime]


class Owed(Base):
    """What is owed to the broker."""

    __tablename__ = "outbox"
    event_id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey(Order.order_id))
    kind: Mapped[str]
    payload: Mapped[dict[str, str]] = mapped_column(JSONB)
