-- A desk with a past, as it lies in the tables after years of trading, for measuring reads.
--
-- Run as superuser with session_replication_role = replica, so that neither foreign keys nor
-- triggers cost their time; each step is shown with how long it took. Sizes come from the settings
-- bench.accounts, .users, .orders, .bars and .samples; "now" is bench.now throughout.

-- step: users and accounts
CREATE FUNCTION pg_temp.size(p_name text) RETURNS bigint LANGUAGE sql STABLE
AS $$ SELECT current_setting('bench.' || p_name)::bigint $$;
CREATE FUNCTION pg_temp.at() RETURNS timestamptz LANGUAGE sql STABLE
AS $$ SELECT current_setting('bench.now')::timestamptz $$;

-- The last one administers, the others trade.
INSERT INTO app.users (user_id, email, role)
SELECT
    lpad(to_hex(n), 32, '0')::uuid, 'bench' || n || '@test.informania.dev',
    CASE WHEN n > pg_temp.size('users') THEN 'admin' ELSE 'trader' END
FROM generate_series(1, pg_temp.size('users') + 1) AS n;
INSERT INTO app.accounts (name, currency, route, broker_account, paper, created_at)
SELECT 'Bench ' || n, 'USD', 'quantconnect', n::text, TRUE, pg_temp.at() - interval '500 days'
FROM generate_series(1, pg_temp.size('accounts')) AS n;
INSERT INTO app.streams (stream_id, seq)
SELECT n, 2 * pg_temp.size('orders') FROM generate_series(1, pg_temp.size('accounts')) AS n;
-- Each user trades his own and looks at two of somebody else's.
INSERT INTO app.account_members (account_id, user_id, can_trade)
SELECT
    1 + (n - 1 + k * pg_temp.size('users')) % pg_temp.size('accounts'),
    lpad(to_hex(1 + (n - 1) % pg_temp.size('users')), 32, '0')::uuid, k = 0
FROM generate_series(1, pg_temp.size('accounts')) AS n
CROSS JOIN generate_series(0, 1) AS k
ON CONFLICT DO NOTHING;
INSERT INTO app.account_members (account_id, user_id, can_trade)
SELECT 1 + (n * 7 + k) % pg_temp.size('accounts'), lpad(to_hex(n), 32, '0')::uuid, FALSE
FROM generate_series(1, pg_temp.size('users')) AS n
CROSS JOIN generate_series(0, 1) AS k
ON CONFLICT DO NOTHING;
INSERT INTO app.risk_limits (account_id, order_quantity_max, order_notional_max, price_collar)
SELECT n, 1e6, 1e8, 0.1 FROM generate_series(1, pg_temp.size('accounts')) AS n;
INSERT INTO app.trading_states (scope, scope_id, state, reason, changed_by)
SELECT
    CASE n WHEN 0 THEN 'global' ELSE 'account' END, n,
    CASE n % 20 WHEN 1 THEN 'halted' ELSE 'active' END, 'bench', 'system:bench'
FROM generate_series(0, pg_temp.size('accounts')) AS n;

-- step: instruments, positions and cash
INSERT INTO app.instruments (symbol, name)
SELECT 'SYM' || n, 'Symbol ' || n FROM generate_series(1, 50) AS n;
INSERT INTO app.positions (account_id, instrument_id, quantity, cost, realized_pnl, fees)
SELECT n, i, n * i % 500, n * i % 500 * 100, i, 1
FROM generate_series(1, pg_temp.size('accounts')) AS n
CROSS JOIN generate_series(1, 50, 5) AS i;
INSERT INTO app.cash_balances (account_id, currency, amount)
SELECT n, 'USD', 1e6 FROM generate_series(1, pg_temp.size('accounts')) AS n;
INSERT INTO app.cash_movements (account_id, currency, amount, kind, reference, created_at)
SELECT
    n, 'USD', 1e5, CASE k WHEN 0 THEN 'opening' ELSE 'deposit' END, 'bench ' || k,
    pg_temp.at() - interval '500 days' + k * interval '40 days'
FROM generate_series(1, pg_temp.size('accounts')) AS n
CROSS JOIN generate_series(0, 9) AS k;

-- step: orders
-- Of four hundred days, the accounts mixed as they trade; the last hundredth still works.
INSERT INTO app.orders (
    client_order_id, request_hash, account_id, instrument_id, side, order_type, time_in_force,
    quantity, limit_price, status, reason_code, cum_quantity, average_price, created_by, request_id,
    created_at, updated_at
)
SELECT
    gen_random_uuid()::text, sha256(int8send(n)),
    1 + n * 7919 % pg_temp.size('accounts'), 1 + n % 50,
    CASE n % 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 'limit', 'day', 10 + n % 90, 100, s.status,
    CASE s.status WHEN 'denied' THEN 'PRICE_OUTSIDE_COLLAR' END,
    CASE s.status WHEN 'filled' THEN 10 + n % 90 ELSE 0 END,
    CASE s.status WHEN 'filled' THEN 100 END,
    lpad(to_hex(1 + n * 7919 % pg_temp.size('accounts') % pg_temp.size('users')), 32, '0')::uuid,
    'bench-' || n, t.at, t.at
FROM generate_series(1, pg_temp.size('orders')) AS n
CROSS JOIN LATERAL (
    SELECT pg_temp.at()
        - (pg_temp.size('orders') - n) * (interval '400 days' / pg_temp.size('orders')) AS at
) AS t
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN n > pg_temp.size('orders') * 0.99 THEN 'accepted'
        WHEN d.draw < 6 THEN 'canceled'
        WHEN d.draw < 9 THEN 'denied'
        ELSE 'filled'
    END AS status
    -- Of no pattern that an account could share.
    FROM (SELECT (hashint8(n) & 1023) % 100 AS draw) AS d
) AS s;

-- step: executions
INSERT INTO app.executions (
    order_id, account_id, instrument_id, source, exec_base, side, quantity, price, currency, fee,
    fee_currency, executed_at, recorded_at
)
SELECT
    o.order_id, o.account_id, o.instrument_id, 'qc:' || o.account_id, 'x' || o.order_id, o.side,
    o.cum_quantity, o.average_price, 'USD', 1, 'USD', o.updated_at, o.updated_at
FROM app.orders AS o
WHERE o.status = 'filled'
ORDER BY o.order_id;

-- step: order events
INSERT INTO app.order_events (
    order_id, kind, source, status_before, status_after, applied, detail, event_at, recorded_at
)
SELECT
    o.order_id, e.kind, 'qc:' || o.account_id, e.status_before, e.status_after, TRUE,
    jsonb_build_object('broker_order_id', o.order_id::text), o.updated_at, o.updated_at
FROM app.orders AS o
CROSS JOIN LATERAL (
    VALUES ('accepted', 'submitting', 'accepted'), ('fill', 'accepted', 'filled')
) AS e (kind, status_before, status_after)
WHERE o.status = 'filled' OR (o.status = 'accepted' AND e.kind = 'accepted')
ORDER BY o.order_id;

-- step: audit rows
-- Two an order. The chain is not one: nobody verifies it here.
INSERT INTO audit.audit_log (
    stream_id, seq, epoch_us, actor, db_user, action, detail, prev_hash, hash
)
SELECT
    o.account_id, 2 * o.order_id + k, (extract(EPOCH FROM o.created_at) * 1000000)::bigint,
    'user:' || o.created_by, 'app_write', CASE k WHEN 0 THEN 'order.place' ELSE 'order.filled' END,
    jsonb_build_object(
        'order_id', o.order_id, 'client_order_id', o.client_order_id, 'request_id', o.request_id,
        'side', o.side, 'quantity', o.quantity, 'status', o.status
    ) || CASE k WHEN 1 THEN '{"status_before": "accepted"}'::jsonb ELSE '{}'::jsonb END,
    sha256(int8send(o.order_id)), sha256(int8send(o.order_id + 1))
FROM app.orders AS o
CROSS JOIN generate_series(0, 1) AS k
ORDER BY o.order_id;

-- step: partitions
SET ROLE app_owner;
SELECT
    market.ensure_partitions(
        'app.events_done', 'done_at', s.at - interval '14 days', s.at + interval '1 day',
        interval '1 day'
    ),
    market.ensure_partitions(
        'market.equity', 'equity_at', s.at - interval '400 days', s.at + interval '30 days',
        interval '30 days'
    ),
    market.ensure_partitions(
        'market.bars', 'bar_at', s.at - interval '3650 days', s.at, interval '3650 days'
    )
FROM (SELECT current_setting('bench.now')::timestamptz AS at) AS s;
RESET ROLE;

-- step: what was and is owed to the brokers
INSERT INTO app.events_done (
    event_id, shard, stream_id, kind, order_id, payload, request_id, attempts, outcome, created_at,
    done_at
)
SELECT
    o.order_id, o.account_id % 16, o.account_id, 'order.place.v1', o.order_id,
    jsonb_build_object('client_order_id', o.client_order_id), o.request_id, 1, 'accepted',
    o.created_at, o.created_at
FROM app.orders AS o
WHERE o.status <> 'denied' AND o.created_at > pg_temp.at() - interval '14 days';
INSERT INTO app.events_outbox (shard, stream_id, kind, order_id, payload, request_id)
SELECT
    o.account_id % 16, o.account_id, 'order.place.v1', o.order_id,
    jsonb_build_object('client_order_id', o.client_order_id), o.request_id
FROM app.orders AS o
WHERE o.status = 'accepted'
ORDER BY o.order_id DESC
LIMIT 1000;
INSERT INTO app.bridges (source, deploy_id, epoch)
SELECT 'qc:' || n, 'bench', 1 FROM generate_series(1, pg_temp.size('accounts')) AS n;

-- step: equity
INSERT INTO market.equity (account_id, equity_at, currency, cash, market_value)
SELECT n, pg_temp.at() - k * (interval '365 days' / pg_temp.size('samples')), 'USD', 1e6, n + k
FROM generate_series(1, pg_temp.size('samples')) AS k
CROSS JOIN generate_series(1, pg_temp.size('accounts')) AS n;

-- step: bars
-- Of each instrument, a twentieth by the hour, a hundredth by the day, the rest by the minute.
INSERT INTO market.bars (
    instrument_id, resolution, bar_at, open, high, low, close, volume, source
)
SELECT
    i, r.resolution, pg_temp.at() - n * r.width, 100, 108 + n % 7, 99, 100 + n % 5, n, 'bench'
FROM generate_series(1, 50) AS i
CROSS JOIN (
    VALUES ('1m', interval '1 min', 0.94), ('1h', interval '1 h', 0.05), ('1d', interval '1 d', 0.01)
) AS r (resolution, width, share)
CROSS JOIN LATERAL generate_series(
    1, (pg_temp.size('bars') / 50 * r.share)::bigint
) AS n;
