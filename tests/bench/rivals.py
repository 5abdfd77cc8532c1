"""What place competes with: the usual ORM transaction, and the same statements tuned by hand."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from random import randint
from uuid import UUID, uuid4

from bench.bench_cluster import ACCOUNTS, DATABASE
from fixtures_postgres import Cluster
from sqlalchemy import URL, BigInteger, DateTime, ForeignKey, Identity, Numeric, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CONNECTIONS = 8
# The rival's own plain tables: no chain, no row security, the same indexes where they matter.
TABLES = """
CREATE SCHEMA rival AUTHORIZATION app_write;
CREATE TABLE rival.accounts (
    account_id bigint PRIMARY KEY, user_id uuid NOT NULL, quantity_max numeric NOT NULL,
    halted boolean NOT NULL DEFAULT FALSE
);
CREATE TABLE rival.instruments (
    instrument_id bigint PRIMARY KEY, symbol text NOT NULL UNIQUE, last_price numeric NOT NULL
);
CREATE TABLE rival.orders (
    order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_order_id text NOT NULL UNIQUE,
    account_id bigint NOT NULL REFERENCES rival.accounts,
    instrument_id bigint NOT NULL REFERENCES rival.instruments,
    side text NOT NULL, quantity numeric NOT NULL, limit_price numeric, status text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX ON rival.orders (account_id, created_at DESC);
CREATE TABLE rival.audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account_id bigint NOT NULL,
    actor text NOT NULL, action text NOT NULL, detail jsonb NOT NULL, at timestamptz NOT NULL
);
CREATE TABLE rival.outbox (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES rival.orders, kind text NOT NULL, payload jsonb NOT NULL
);
INSERT INTO rival.accounts SELECT n, lpad(to_hex(n), 32, '0')::uuid, 1e9
FROM generate_series(1, 1000) AS n;
INSERT INTO rival.instruments VALUES (1, 'AAPL', 100);
GRANT ALL ON ALL TABLES IN SCHEMA rival TO app_write;
"""


class Base(DeclarativeBase):
    """The rival's tables."""


class Account(Base):
    """Who may trade what."""

    __tablename__ = "accounts"
    __table_args__ = {"schema": "rival"}  # noqa: RUF012 (SQLAlchemy's own form)
    account_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    user_id: Mapped[UUID]
    quantity_max: Mapped[Decimal]
    halted: Mapped[bool]


class Instrument(Base):
    """What is traded."""

    __tablename__ = "instruments"
    __table_args__ = {"schema": "rival"}  # noqa: RUF012
    instrument_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    symbol: Mapped[str]
    last_price: Mapped[Decimal]


class Order(Base):
    """An order, once."""

    __tablename__ = "orders"
    __table_args__ = {"schema": "rival"}  # noqa: RUF012
    order_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    client_order_id: Mapped[str]
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.account_id))
    instrument_id: Mapped[int] = mapped_column(ForeignKey(Instrument.instrument_id))
    side: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(Numeric)
    limit_price: Mapped[Decimal | None] = mapped_column(Numeric)
    status: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Audit(Base):
    """What was done."""

    __tablename__ = "audit_log"
    __table_args__ = {"schema": "rival"}  # noqa: RUF012
    audit_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[int]
    actor: Mapped[str]
    action: Mapped[str]
    detail: Mapped[dict[str, str]] = mapped_column(JSONB)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Owed(Base):
    """What is owed to the broker."""

    __tablename__ = "outbox"
    __table_args__ = {"schema": "rival"}  # noqa: RUF012
    event_id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey(Order.order_id))
    kind: Mapped[str]
    payload: Mapped[dict[str, str]] = mapped_column(JSONB)


TUNED = text("""
WITH account AS (
    SELECT a.account_id
    FROM rival.accounts AS a
    WHERE a.account_id = :account_id AND a.user_id = :user_id AND NOT a.halted
        AND a.quantity_max >= :quantity
    FOR NO KEY UPDATE
), placed AS (
    INSERT INTO rival.orders (
        client_order_id, account_id, instrument_id, side, quantity, limit_price, status, created_at
    )
    SELECT :client_order_id, a.account_id, i.instrument_id, :side, :quantity, :limit_price, 'new',
        clock_timestamp()
    FROM account AS a JOIN rival.instruments AS i ON i.symbol = :symbol
    ON CONFLICT (client_order_id) DO NOTHING
    RETURNING order_id, account_id
), audited AS (
    INSERT INTO rival.audit_log (account_id, actor, action, detail, at)
    SELECT p.account_id, :actor, 'order.place', CAST(:detail AS jsonb), clock_timestamp()
    FROM placed AS p
), owed AS (
    INSERT INTO rival.outbox (order_id, kind, payload)
    SELECT p.order_id, 'order.place.v1', CAST(:detail AS jsonb) FROM placed AS p
)
SELECT p.order_id FROM placed AS p
""")


class Rivals:
    """Places orders the usual ways."""

    def __init__(self, cluster: Cluster) -> None:
        self.engine: AsyncEngine = create_async_engine(
            URL.create(
                "postgresql+asyncpg",
                "app_write",
                cluster.password("app_write"),
                cluster.host,
                cluster.port,
                DATABASE,
            ),
            pool_size=CONNECTIONS,
        )
        self.sessions = async_sessionmaker(self.engine)

    async def by_orm(self) -> None:
        """One order as most FastAPI projects write it: look, look, add, flush, add, commit."""
        account_id, client_order_id = randint(1, ACCOUNTS), str(uuid4())
        async with self.sessions() as session:
            account = await session.get_one(Account, account_id)
            by_symbol = select(Instrument).where(Instrument.symbol == "AAPL")
            instrument = (await session.scalars(by_symbol)).one()
            known = select(Order).where(Order.client_order_id == client_order_id)
            if (await session.scalars(known)).one_or_none() or account.halted:
                raise RuntimeError("the order exists")
            order = Order(
                client_order_id=client_order_id, account_id=account.account_id,
                instrument_id=instrument.instrument_id, side="buy", quantity=Decimal(10),
                limit_price=Decimal(99), status="new", created_at=datetime.now(UTC),
            )  # fmt: skip
            session.add(order)
            await session.flush()
            detail = {"client_order_id": client_order_id, "symbol": "AAPL", "side": "buy"}
            session.add(
                Audit(
                    account_id=account_id, actor=f"user:{account.user_id}", action="order.place",
                    detail=detail, at=datetime.now(UTC),
                )
            )  # fmt: skip
            session.add(Owed(order_id=order.order_id, kind="order.place.v1", payload=detail))
            await session.commit()

    async def by_core(self) -> None:
        """The same in one statement, through SQLAlchemy Core."""
        account_id, client_order_id = randint(1, ACCOUNTS), str(uuid4())
        detail = {"client_order_id": client_order_id, "symbol": "AAPL", "side": "buy"}
        async with self.engine.begin() as connection:
            done = await connection.execute(
                TUNED,
                {
                    "account_id": account_id, "user_id": UUID(int=account_id), "symbol": "AAPL",
                    "client_order_id": client_order_id, "side": "buy", "quantity": Decimal(10),
                    "limit_price": Decimal(99), "actor": f"user:{UUID(int=account_id)}",
                    "detail": json.dumps(detail),
                },
            )  # fmt: skip
            done.one()
