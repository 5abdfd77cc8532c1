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
--   fx_rates         what one unit of a currency is in another, by day
--   cash             per account and currency
--   cash_movements   money paid in or out
--   equity_by_currency  what an account holds in each currency, and what that is in its own
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
        -- What returns rows of a view has gone with it.
        EXECUTE 'DROP ROUTINE IF EXISTS ' || v_functions;
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
    i.multiplier,
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
    i.multiplier,
    CASE WHEN p.quantity <> 0 THEN p.cost / (p.quantity * i.multiplier) END AS average_cost,
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
    p.quantity * l.price * i.multiplier AS market_value,
    p.quantity * l.price * i.multiplier - p.cost AS unrealized_pnl,
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

-- first_*: where a corrected execution was first reported; what nobody names costs nothing.
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
    i.multiplier,
    e.quantity * e.price * i.multiplier AS notional,
    e.currency,
    e.fee,
    e.fee_currency,
    -- In the account's currency, at the rate of its day.
    CASE
        WHEN e.fee_currency = a.currency THEN e.fee
        ELSE e.fee * (
            app.sp_fx_rate(
                e.fee_currency, a.currency, (e.executed_at AT TIME ZONE 'UTC')::date
            )
        ).rate
    END AS fee_converted,
    CASE
        WHEN e.currency = a.currency THEN e.quantity * e.price * i.multiplier
        ELSE e.quantity * e.price * i.multiplier * (
            app.sp_fx_rate(e.currency, a.currency, (e.executed_at AT TIME ZONE 'UTC')::date)
        ).rate
    END AS notional_converted,
    e.executed_at,
    e.recorded_at,
    CASE e.kind
        WHEN 'trade' THEN e.execution_id
        ELSE (
            SELECT f.execution_id FROM app.executions AS f
            WHERE f.account_id = e.account_id
                AND f.source = e.source
                AND f.exec_base = e.exec_base
                AND f.kind = 'trade'
        )
    END AS first_execution_id,
    CASE e.kind
        WHEN 'trade' THEN e.executed_at
        ELSE (
            SELECT f.executed_at FROM app.executions AS f
            WHERE f.account_id = e.account_id
                AND f.source = e.source
                AND f.exec_base = e.exec_base
                AND f.kind = 'trade'
        )
    END AS first_executed_at
FROM app.executions AS e
JOIN app.instruments AS i ON i.instrument_id = e.instrument_id
LEFT JOIN app.accounts AS a ON a.account_id = e.account_id
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

CREATE VIEW reporting.bars WITH (security_invoker = TRUE) AS
SELECT
    i.symbol, b.resolution, b.bar_at, b.open, b.high, b.low, b.close, b.volume, b.source,
    b.original_date, b.instrument_id
FROM market.bars AS b
JOIN app.instruments AS i ON i.instrument_id = b.instrument_id;

CREATE VIEW reporting.quotes WITH (security_invoker = TRUE) AS
SELECT i.symbol, q.quote_at, q.price, q.source, q.instrument_id
FROM market.quotes AS q
JOIN app.instruments AS i ON i.instrument_id = q.instrument_id;
