"""What place competes with, by the same rules: the usual ORM transaction, and one tuned statement.

Both check who may trade, look for a repetition, read what the risk rules read and write the order,
its audit row and what is owed to the broker. Neither chains hashes, tells the size that would have
passed, or counts the rate of the user over all accounts.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import randint
from uuid import UUID, uuid4

from bench.bench_cluster import ACCOUNTS, DATABASE
from bench.rival_tables import (
    CLOSED,
    Account,
    Audit,
    Capability,
    Cash,
    DayEquity,
    Instrument,
    Limits,
    Member,
    Order,
    Owed,
    Position,
    Price,
    RevokedSession,
    TradingState,
    User,
)
from fixtures_postgres import Cluster
from sqlalchemy import URL, or_, select, text
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

CONNECTIONS = 8
QUANTITY, PRICE = Decimal(10), Decimal(99)
MINUTE = timedelta(minutes=1)

TUNED = text("""
WITH account AS (
    SELECT a.account_id, a.currency, a.route, a.order_due_at
    FROM rival.accounts AS a
    WHERE a.account_id = :account_id
    FOR NO KEY UPDATE
), working AS (
    SELECT
        count(*) AS orders,
        coalesce(sum(o.quantity - o.cum_quantity) FILTER (
            WHERE o.side = 'buy' AND o.instrument_id = i.instrument_id
        ), 0) AS buys,
        coalesce(sum((o.quantity - o.cum_quantity) * o.limit_price), 0) AS bound
    FROM rival.instruments AS i
    LEFT JOIN rival.orders AS o
        ON o.account_id = :account_id
        AND o.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
    WHERE i.symbol = :symbol
), held AS (
    SELECT
        coalesce(sum(h.quantity) FILTER (WHERE h.instrument_id = i.instrument_id), 0) AS quantity,
        coalesce(sum(h.quantity * p.price), 0) AS value,
        coalesce(sum(abs(h.quantity) * p.price), 0) AS gross
    FROM rival.instruments AS i
    LEFT JOIN rival.positions AS h ON h.account_id = :account_id
    LEFT JOIN rival.prices AS p ON p.instrument_id = h.instrument_id
    WHERE i.symbol = :symbol
), judged AS (
    SELECT a.account_id, i.instrument_id, l.orders_per_minute_max, CASE
        WHEN EXISTS (
            SELECT FROM rival.trading_states AS t
            WHERE t.state = 'halted'
                AND (t.scope = 'global' OR (t.scope = 'account' AND t.scope_id = a.account_id))
        ) THEN 'TRADING_HALTED'
        WHEN NOT EXISTS (
            SELECT FROM rival.capabilities AS c
            WHERE (c.route, c.order_type, c.time_in_force) = (a.route, 'limit', 'day')
        ) THEN 'NOT_SUPPORTED'
        WHEN NOT i.tradable THEN 'INSTRUMENT_NOT_TRADABLE'
        WHEN mod(:quantity, i.lot_size) <> 0 THEN 'QUANTITY_NOT_ON_LOT'
        WHEN mod(:limit_price, i.tick_size) <> 0 THEN 'PRICE_NOT_ON_TICK'
        WHEN :quantity > l.order_quantity_max THEN 'ORDER_QUANTITY_EXCEEDS_MAX'
        WHEN p.received_at < clock_timestamp() - interval '1 day' THEN 'STALE_MARKET_PRICE'
        WHEN :quantity * :limit_price > l.order_notional_max THEN 'ORDER_NOTIONAL_EXCEEDS_MAX'
        WHEN abs(:limit_price - p.price) > l.price_collar * p.price THEN 'PRICE_OUTSIDE_COLLAR'
        WHEN h.quantity + w.buys + :quantity > l.position_quantity_max
            THEN 'POSITION_EXCEEDS_MAX'
        WHEN coalesce(d.equity, 0) - c.amount - h.value >= l.daily_loss_max
            THEN 'DAILY_LOSS_EXCEEDED'
        WHEN :quantity * :limit_price
            > (c.amount + h.value) * l.leverage_max - h.gross - w.bound
            THEN 'BUYING_POWER_EXCEEDED'
        WHEN w.orders >= l.open_orders_max THEN 'OPEN_ORDERS_EXCEED_MAX'
        WHEN a.order_due_at > clock_timestamp() + interval '1 min' THEN 'ORDER_RATE_EXCEEDED'
    END AS reason_code
    FROM account AS a
    JOIN rival.users AS u
        ON u.user_id = :user_id AND NOT u.disabled AND u.role IN ('trader', 'admin')
    JOIN rival.members AS m
        ON m.account_id = a.account_id AND m.user_id = u.user_id AND m.can_trade
    JOIN rival.instruments AS i ON i.symbol = :symbol
    JOIN rival.limits AS l ON l.account_id = a.account_id
    JOIN rival.prices AS p ON p.instrument_id = i.instrument_id
    JOIN rival.cash AS c ON c.account_id = a.account_id AND c.currency = a.currency
    LEFT JOIN rival.day_equity AS d ON d.account_id = a.account_id
    CROSS JOIN working AS w
    CROSS JOIN held AS h
    WHERE NOT EXISTS (
        SELECT FROM rival.revoked_sessions AS r WHERE r.session_handle = :session
    )
), placed AS (
    INSERT INTO rival.orders (
        client_order_id, account_id, instrument_id, side, order_type, time_in_force, quantity,
        limit_price, status, reason_code, created_by, created_at, updated_at
    )
    SELECT
        :client_order_id, j.account_id, j.instrument_id, 'buy', 'limit', 'day', :quantity,
        :limit_price, CASE WHEN j.reason_code IS NULL THEN 'new' ELSE 'denied' END,
        j.reason_code, :user_id, clock_timestamp(), clock_timestamp()
    FROM judged AS j
    ON CONFLICT (client_order_id) DO NOTHING
    RETURNING order_id, account_id, status, reason_code, cum_quantity, created_at, updated_at
), audited AS (
    INSERT INTO rival.audit_log (account_id, actor, action, detail, at)
    SELECT p.account_id, :actor, 'order.place', CAST(:detail AS jsonb), clock_timestamp()
    FROM placed AS p
), owed AS (
    INSERT INTO rival.outbox (order_id, kind, payload)
    SELECT p.order_id, 'order.place.v1', CAST(:detail AS jsonb)
    FROM placed AS p
    WHERE p.status = 'new'
), counted AS (
    UPDATE rival.accounts AS a
    SET order_due_at = greatest(a.order_due_at, clock_timestamp())
        + interval '1 min' / j.orders_per_minute_max
    FROM judged AS j
    WHERE a.account_id = j.account_id AND j.reason_code IS NULL
)
SELECT * FROM placed
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
        """One order as FastAPI projects write it: look, check, add, flush, add, commit, refresh."""
        account_id = randint(1, ACCOUNTS)
        async with self.sessions() as session:
            order = await place_by_orm(session, UUID(int=account_id), account_id)
            if order.status != "new":
                raise RuntimeError(f"the order is {order.status}: {order.reason_code}")

    async def by_core(self) -> None:
        """The same in one statement, through SQLAlchemy Core."""
        account_id, client_order_id = randint(1, ACCOUNTS), str(uuid4())
        detail = {"client_order_id": client_order_id, "symbol": "AAPL", "side": "buy"}
        async with self.engine.begin() as connection:
            done = await connection.execute(
                TUNED,
                {
                    "account_id": account_id, "user_id": UUID(int=account_id), "symbol": "AAPL",
                    "session": "bench", "client_order_id": client_order_id, "quantity": QUANTITY,
                    "limit_price": PRICE, "actor": f"user:{UUID(int=account_id)}",
                    "detail": json.dumps(detail),
                },
            )  # fmt: skip
            order = done.one()
        if order.status != "new":
            raise RuntimeError(f"the order is {order.status}: {order.reason_code}")


async def place_by_orm(session: AsyncSession, user_id: UUID, account_id: int) -> Order:
    """Authority, repetition, account and instrument; then the rules, then the rows."""
    client_order_id, now = str(uuid4()), datetime.now(UTC)
    user = await session.get_one(User, user_id)
    member = await session.get_one(Member, (account_id, user_id))
    revoked = await session.get(RevokedSession, "bench")
    if user.disabled or not member.can_trade or revoked is not None:
        raise RuntimeError("not allowed")
    account = await session.get_one(Account, account_id, with_for_update=True)
    known = select(Order).where(Order.client_order_id == client_order_id)
    if (await session.scalars(known)).one_or_none():
        raise RuntimeError("the order exists")
    by_symbol = select(Instrument).where(Instrument.symbol == "AAPL")
    instrument = (await session.scalars(by_symbol)).one()
    limits = await session.get_one(Limits, account_id)
    reason = await broken_rule(session, account, instrument, limits, now)
    order = Order(
        client_order_id=client_order_id, account_id=account_id,
        instrument_id=instrument.instrument_id, side="buy", order_type="limit",
        time_in_force="day", quantity=QUANTITY, limit_price=PRICE, cum_quantity=Decimal(0),
        status="denied" if reason else "new", reason_code=reason, created_by=user_id,
        created_at=now, updated_at=now,
    )  # fmt: skip
    session.add(order)
    await session.flush()
    detail = {"client_order_id": client_order_id, "symbol": "AAPL", "side": "buy"}
    actor = f"user:{user_id}"
    session.add(
        Audit(account_id=account_id, actor=actor, action="order.place", detail=detail, at=now)
    )
    if reason is None:
        session.add(Owed(order_id=order.order_id, kind="order.place.v1", payload=detail))
        account.order_due_at = (
            max(account.order_due_at or now, now) + MINUTE / limits.orders_per_minute_max
        )
    await session.commit()
    await session.refresh(order)
    return order


async def broken_rule(
    session: AsyncSession, account: Account, instrument: Instrument, limits: Limits, now: datetime
) -> str | None:
    """Check the risk rules in Python, as such projects do."""
    states = await session.scalars(
        select(TradingState).where(
            or_(
                TradingState.scope == "global",
                (TradingState.scope == "account") & (TradingState.scope_id == account.account_id),
            )
        )
    )
    route = await session.get(Capability, (account.route, "limit", "day"))
    price = await session.get_one(Price, instrument.instrument_id)
    cash = await session.get_one(Cash, (account.account_id, account.currency))
    day = await session.get(DayEquity, account.account_id)
    held = (
        await session.execute(
            select(Position, Price)
            .join(Price, Price.instrument_id == Position.instrument_id)
            .where(Position.account_id == account.account_id)
        )
    ).all()
    working = (
        await session.scalars(
            select(Order).where(Order.account_id == account.account_id, Order.status.not_in(CLOSED))
        )
    ).all()
    value = sum((position.quantity * last.price for position, last in held), Decimal(0))
    gross = sum((abs(position.quantity) * last.price for position, last in held), Decimal(0))
    bound = sum(
        ((o.quantity - o.cum_quantity) * (o.limit_price or price.price) for o in working),
        Decimal(0),
    )
    after = QUANTITY + sum(
        o.quantity - o.cum_quantity for o in working
        if o.side == "buy" and o.instrument_id == instrument.instrument_id
    ) + sum(p.quantity for p, _ in held if p.instrument_id == instrument.instrument_id)  # fmt: skip
    loss = (day.equity if day else Decimal(0)) - cash.amount - value
    broken = {
        "TRADING_HALTED": any(state.state == "halted" for state in states),
        "NOT_SUPPORTED": route is None,
        "INSTRUMENT_NOT_TRADABLE": not instrument.tradable,
        "QUANTITY_NOT_ON_LOT": QUANTITY % instrument.lot_size != 0,
        "PRICE_NOT_ON_TICK": PRICE % instrument.tick_size != 0,
        "ORDER_QUANTITY_EXCEEDS_MAX": limits.order_quantity_max < QUANTITY,
        "STALE_MARKET_PRICE": now - price.received_at > timedelta(days=1),
        "ORDER_NOTIONAL_EXCEEDS_MAX": limits.order_notional_max < QUANTITY * PRICE,
        "PRICE_OUTSIDE_COLLAR": abs(PRICE - price.price) > limits.price_collar * price.price,
        "POSITION_EXCEEDS_MAX": after > limits.position_quantity_max,
        "DAILY_LOSS_EXCEEDED": loss >= limits.daily_loss_max,
        "BUYING_POWER_EXCEEDED": (cash.amount + value) * limits.leverage_max - gross - bound
        < QUANTITY * PRICE,
        "OPEN_ORDERS_EXCEED_MAX": len(working) >= limits.open_orders_max,
        "ORDER_RATE_EXCEEDED": (account.order_due_at or now) > now + MINUTE,
    }
    return next((code for code, is_broken in broken.items() if is_broken), None)
