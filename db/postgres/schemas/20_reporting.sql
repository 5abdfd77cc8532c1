-- What the screen reads: one view per question, exact numbers, names of the wire.
-- Laid anew, as app_owner, after every upgrade that changed something; holds no data.
--
-- Every view runs with the rights and policies of who asks (security_invoker), so a reader sees the
-- accounts of the user whose signed token is in app.user_token, and nothing without one.
-- Readers name the accounts they want: WHERE account_id = ANY ($1).
--
--   accounts         the reader's accounts: route, trading state, limits, whether he may trade
--   instruments      what can be traded, with its last price and the age of it
--   positions        per account and instrument: quantity, average cost, value, profit and loss
--   orders           every order with its state
--   executions       every fill that holds: not corrected by another, not busted
--   order_events     what happened to an order, in order
--   cash             per account and currency
--   cash_movements   money paid in or out
--   equity           what an account is worth now
--   account_summary  the same with exposure, open orders, and the profit and loss of the day
--   equity_history   what it was worth
--   bars, quotes     prices for charts

DO $$
DECLARE
    v_views text := (
        SELECT string_agg(oid::regclass::text, ', ') FROM pg_catalog.pg_class
        WHERE relnamespace = 'reporting'::regnamespace AND relkind = 'v'
    );
    v_functions text := (
        SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_catalog.pg_proc
        WHERE pronamespace = 'reporting'::regnamespace
    );
BEGIN
    IF v_views IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || v_views || ' CASCADE';
    END IF;
    IF v_functions IS NOT NULL THEN
        EXECUTE 'DROP FUNCTION ' || v_functions;
    END IF;
END
$$;

-- The tightest switch counts: the account's own or the global one.
CREATE VIEW reporting.accounts WITH (security_invoker = TRUE) AS
SELECT
    a.account_id,
    a.name,
    a.currency,
    a.route,
    a.paper,
    coalesce(m.can_trade, FALSE) AS can_trade,
    CASE
        WHEN 'halted' IN (own.state, everyone.state) THEN 'halted'
        WHEN 'reducing' IN (own.state, everyone.state) THEN 'reducing'
        ELSE 'active'
    END AS trading_state,
    CASE
        WHEN own.state = 'halted' THEN own.reason
        WHEN everyone.state = 'halted' THEN everyone.reason
        WHEN own.state = 'reducing' THEN own.reason
        WHEN everyone.state = 'reducing' THEN everyone.reason
    END AS trading_state_reason,
    l.order_quantity_max,
    l.order_notional_max,
    l.price_collar,
    a.created_at
FROM app.accounts AS a
LEFT JOIN app.account_members AS m
    ON m.account_id = a.account_id AND m.user_id = (SELECT security.token_user())
LEFT JOIN app.trading_states AS own ON own.scope = 'account' AND own.scope_id = a.account_id
LEFT JOIN app.trading_states AS everyone ON everyone.scope = 'global' AND everyone.scope_id = 0
LEFT JOIN app.risk_limits AS l ON l.account_id = a.account_id;

CREATE VIEW reporting.instruments WITH (security_invoker = TRUE) AS
SELECT
    i.instrument_id,
    i.symbol,
    i.name,
    i.currency,
    i.tick_size,
    i.lot_size,
    i.tradable,
    p.price AS last_price,
    p.source AS price_source,
    p.source_at AS price_at,
    p.received_at AS price_received_at
FROM app.instruments AS i
LEFT JOIN market.last_prices AS p ON p.instrument_id = i.instrument_id;

-- A flat position stays in the list for what it realized. Cost is signed, as quantity is. What is
-- read of the quotes stands in the select list, so that a query that does not name it pays nothing.
CREATE VIEW reporting.positions WITH (security_invoker = TRUE) AS
SELECT
    p.account_id,
    i.symbol,
    i.name,
    i.currency,
    i.tick_size,
    p.quantity,
    CASE WHEN p.quantity <> 0 THEN p.cost / p.quantity END AS average_cost,
    p.cost,
    l.price AS last_price,
    l.received_at AS price_received_at,
    -- Since the last price before the UTC day began, or the first of the day.
    l.price / coalesce(
        (
            SELECT q.price FROM market.quotes AS q
            WHERE q.instrument_id = p.instrument_id
                AND q.quote_at < date_trunc('day', now(), 'UTC')
                AND q.quote_at > date_trunc('day', now(), 'UTC') - interval '7 days'
            ORDER BY q.quote_at DESC
            LIMIT 1
        ),
        (
            SELECT q.price FROM market.quotes AS q
            WHERE q.instrument_id = p.instrument_id
                AND q.quote_at >= date_trunc('day', now(), 'UTC')
            ORDER BY q.quote_at
            LIMIT 1
        )
    ) - 1 AS day_change,
    p.quantity * l.price AS market_value,
    p.quantity * l.price - p.cost AS unrealized_pnl,
    p.realized_pnl,
    p.fees,
    -- Of an open position, the last price of each of the last 60 minutes.
    ARRAY(
        SELECT DISTINCT ON (date_trunc('minute', q.quote_at)) q.price
        FROM market.quotes AS q
        WHERE q.instrument_id = p.instrument_id
            AND p.quantity <> 0
            AND q.quote_at >= date_trunc('minute', now()) - interval '59 min'
        ORDER BY date_trunc('minute', q.quote_at), q.quote_at DESC
    ) AS recent_prices,
    p.updated_at
FROM app.positions AS p
JOIN app.instruments AS i ON i.instrument_id = p.instrument_id
LEFT JOIN market.last_prices AS l ON l.instrument_id = p.instrument_id;

CREATE VIEW reporting.orders WITH (security_invoker = TRUE) AS
SELECT
    o.order_id,
    o.client_order_id,
    o.account_id,
    o.strategy_id,
    i.symbol,
    i.currency,
    i.tick_size,
    o.side,
    o.order_type,
    o.time_in_force,
    o.expires_at,
    o.quantity,
    o.limit_price,
    o.stop_price,
    o.status,
    o.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired') AS open,
    o.reason_code,
    o.quantity_max,
    o.cum_quantity,
    CASE
        WHEN o.status IN ('denied', 'filled', 'canceled', 'rejected', 'expired') THEN 0
        ELSE greatest(o.quantity - o.cum_quantity, 0)
    END AS leaves_quantity,
    o.average_price,
    o.late_fill,
    o.overfill,
    o.corrected,
    o.origin,
    o.pending_quantity,
    o.pending_limit_price,
    o.pending_stop_price,
    o.created_by,
    o.created_at,
    o.updated_at
FROM app.orders AS o
JOIN app.instruments AS i ON i.instrument_id = o.instrument_id;

CREATE VIEW reporting.executions WITH (security_invoker = TRUE) AS
SELECT
    e.execution_id,
    e.order_id,
    e.account_id,
    i.symbol,
    i.tick_size,
    e.side,
    e.quantity,
    e.price,
    e.quantity * e.price AS notional,
    e.currency,
    e.fee,
    e.fee_currency,
    e.executed_at,
    e.recorded_at
FROM app.executions AS e
JOIN app.instruments AS i ON i.instrument_id = e.instrument_id
WHERE e.kind <> 'bust'
  AND NOT EXISTS (SELECT FROM app.executions AS x WHERE x.corrects = e.execution_id);

CREATE VIEW reporting.order_events WITH (security_invoker = TRUE) AS
SELECT
    v.order_event_id,
    v.order_id,
    o.account_id,
    o.client_order_id,
    v.kind,
    v.source,
    v.status_before,
    v.status_after,
    v.applied,
    v.reason,
    v.event_at,
    v.recorded_at
FROM app.order_events AS v
JOIN app.orders AS o ON o.order_id = v.order_id;

CREATE VIEW reporting.cash WITH (security_invoker = TRUE) AS
SELECT c.account_id, c.currency, c.amount FROM app.cash_balances AS c;

CREATE VIEW reporting.cash_movements WITH (security_invoker = TRUE) AS
SELECT m.account_id, m.currency, m.amount, m.kind, m.created_at
FROM app.cash_movements AS m;

-- Only what is in the account's own currency is added up. `unpriced` counts the open positions that
-- have no last price and therefore no value here. Joined by LATERAL, so that who asks for some
-- accounts pays for their positions alone.
CREATE VIEW reporting.equity WITH (security_invoker = TRUE) AS
SELECT
    a.account_id,
    a.currency,
    coalesce(c.amount, 0) AS cash,
    coalesce(p.market_value, 0) AS market_value,
    coalesce(c.amount, 0) + coalesce(p.market_value, 0) AS equity,
    coalesce(p.unrealized_pnl, 0) AS unrealized_pnl,
    coalesce(p.realized_pnl, 0) AS realized_pnl,
    coalesce(p.fees, 0) AS fees,
    coalesce(p.unpriced, 0) AS unpriced,
    p.price_received_at
FROM app.accounts AS a
LEFT JOIN app.cash_balances AS c ON c.account_id = a.account_id AND c.currency = a.currency
LEFT JOIN LATERAL (
    SELECT
        sum(v.market_value) AS market_value,
        sum(v.unrealized_pnl) AS unrealized_pnl,
        sum(v.realized_pnl) AS realized_pnl,
        sum(v.fees) AS fees,
        count(*) FILTER (WHERE v.quantity <> 0 AND v.last_price IS NULL) AS unpriced,
        min(v.price_received_at) FILTER (WHERE v.quantity <> 0) AS price_received_at
    FROM reporting.positions AS v
    WHERE v.account_id = a.account_id AND v.currency = a.currency
) AS p ON TRUE;

CREATE VIEW reporting.equity_history WITH (security_invoker = TRUE) AS
SELECT
    e.account_id, e.equity_at, e.currency, e.cash, e.market_value,
    e.cash + e.market_value AS equity
FROM market.equity AS e;

-- The day began at 0:00 UTC. What the account was worth then is the last sample before, nothing for
-- an account that was opened since, else the first sample since; what was paid in or out after that
-- is taken off. Without a sample, or with a position that has no price, day_pnl is null.
-- limit_use is the share of the largest order value that the largest open order takes.
CREATE VIEW reporting.account_summary WITH (security_invoker = TRUE) AS
SELECT
    e.account_id,
    e.currency,
    e.cash,
    e.market_value,
    e.equity,
    e.unrealized_pnl,
    e.realized_pnl,
    e.fees,
    (
        SELECT coalesce(sum(abs(v.market_value)), 0)
        FROM reporting.positions AS v
        WHERE v.account_id = e.account_id AND v.currency = e.currency
    ) AS gross_exposure,
    CASE WHEN e.unpriced = 0 THEN e.equity - base.equity - (
        SELECT coalesce(sum(m.amount), 0)
        FROM app.cash_movements AS m
        WHERE m.account_id = e.account_id
            AND m.currency = e.currency
            AND m.created_at > base.equity_at
    ) END AS day_pnl,
    o.open_orders,
    o.notional_max / a.order_notional_max AS limit_use,
    e.unpriced,
    e.price_received_at
FROM reporting.equity AS e
JOIN reporting.accounts AS a ON a.account_id = e.account_id
CROSS JOIN LATERAL (
    SELECT
        count(*) AS open_orders,
        max((w.quantity - w.cum_quantity) * coalesce(w.limit_price, l.price)) AS notional_max
    FROM app.orders AS w
    LEFT JOIN market.last_prices AS l ON l.instrument_id = w.instrument_id
    WHERE w.account_id = e.account_id
        AND w.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
) AS o
LEFT JOIN LATERAL (
    SELECT b.equity_at, b.equity
    FROM (
        (
            SELECT 1 AS choice, h.equity_at, h.equity
            FROM reporting.equity_history AS h
            WHERE h.account_id = e.account_id
                AND h.currency = e.currency
                AND h.equity_at < date_trunc('day', now(), 'UTC')
            ORDER BY h.equity_at DESC
            LIMIT 1
        )
        UNION ALL
        SELECT 2, '-infinity', 0
        WHERE a.created_at >= date_trunc('day', now(), 'UTC')
        UNION ALL
        (
            SELECT 3, h.equity_at, h.equity
            FROM reporting.equity_history AS h
            WHERE h.account_id = e.account_id
                AND h.currency = e.currency
                AND h.equity_at >= date_trunc('day', now(), 'UTC')
            ORDER BY h.equity_at
            LIMIT 1
        )
    ) AS b
    ORDER BY b.choice
    LIMIT 1
) AS base ON TRUE;

CREATE VIEW reporting.bars WITH (security_invoker = TRUE) AS
SELECT
    i.symbol, b.resolution, b.bar_at, b.open, b.high, b.low, b.close, b.volume, b.source,
    b.original_date
FROM market.bars AS b
JOIN app.instruments AS i ON i.instrument_id = b.instrument_id;

CREATE VIEW reporting.quotes WITH (security_invoker = TRUE) AS
SELECT i.symbol, q.quote_at, q.price, q.source
FROM market.quotes AS q
JOIN app.instruments AS i ON i.instrument_id = q.instrument_id;
