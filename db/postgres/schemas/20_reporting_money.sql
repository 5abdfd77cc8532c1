-- What accounts are worth, in each currency and in their own.
-- Laid anew, as app_owner, after the views of 20_reporting.sql, which lists these as well. Holds no
-- data.

CREATE VIEW reporting.fx_rates WITH (security_invoker = TRUE) AS
SELECT r.base, r.quote, r.rate_date, r.rate, r.source, r.original_date
FROM market.fx_rates AS r;

CREATE VIEW reporting.cash WITH (security_invoker = TRUE) AS
SELECT c.account_id, c.currency, c.amount, c.fees FROM app.cash_balances AS c;

-- Converted at the rate of its day, so that what was paid in stays what it was.
CREATE VIEW reporting.cash_movements WITH (security_invoker = TRUE) AS
SELECT
    m.account_id,
    m.currency,
    m.amount,
    m.kind,
    CASE
        WHEN m.currency = a.currency THEN m.amount
        ELSE m.amount * (
            app.sp_fx_rate(m.currency, a.currency, (m.created_at AT TIME ZONE 'UTC')::date)
        ).rate
    END AS amount_converted,
    m.created_at
FROM app.cash_movements AS m
LEFT JOIN app.accounts AS a ON a.account_id = m.account_id;

-- A row a currency that the account has cash or a position in; the same in the account's currency
-- at the latest rate, which fx_rate and fx_date name; null without one. `unpriced` counts the open
-- positions that have no last price and therefore no value here.
CREATE VIEW reporting.equity_by_currency WITH (security_invoker = TRUE) AS
SELECT
    k.account_id,
    k.currency,
    k.cash,
    k.market_value,
    k.cash + k.market_value AS equity,
    k.gross_exposure,
    k.unrealized_pnl,
    k.realized_pnl,
    k.fees,
    k.unpriced,
    k.open_positions,
    k.price_received_at,
    a.currency AS account_currency,
    r.rate AS fx_rate,
    r.rate_date AS fx_date,
    k.cash * r.rate AS cash_converted,
    k.market_value * r.rate AS market_value_converted,
    (k.cash + k.market_value) * r.rate AS equity_converted,
    k.gross_exposure * r.rate AS gross_exposure_converted,
    k.unrealized_pnl * r.rate AS unrealized_pnl_converted,
    k.realized_pnl * r.rate AS realized_pnl_converted,
    k.fees * r.rate AS fees_converted
FROM (
    SELECT
        v.account_id,
        v.currency,
        coalesce(sum(v.cash), 0) AS cash,
        coalesce(sum(v.market_value), 0) AS market_value,
        coalesce(sum(abs(v.market_value)), 0) AS gross_exposure,
        coalesce(sum(v.unrealized_pnl), 0) AS unrealized_pnl,
        coalesce(sum(v.realized_pnl), 0) AS realized_pnl,
        coalesce(sum(v.fees), 0) AS fees,
        count(*) FILTER (WHERE v.quantity <> 0) AS open_positions,
        count(*) FILTER (WHERE v.quantity <> 0 AND v.market_value IS NULL) AS unpriced,
        min(v.price_received_at) FILTER (WHERE v.quantity <> 0) AS price_received_at
    FROM (
        SELECT
            p.account_id, p.currency, NULL::numeric AS cash, p.quantity, p.market_value,
            p.unrealized_pnl, p.realized_pnl, NULL::numeric AS fees, p.price_received_at
        FROM reporting.positions AS p
        UNION ALL
        SELECT c.account_id, c.currency, c.amount, 0, NULL, NULL, NULL, c.fees, NULL
        FROM reporting.cash AS c
    ) AS v
    GROUP BY v.account_id, v.currency
) AS k
JOIN app.accounts AS a ON a.account_id = k.account_id
LEFT JOIN LATERAL app.sp_fx_rate(
    k.currency, a.currency, (now() AT TIME ZONE 'UTC')::date
) AS r ON TRUE;

-- Everything in the account's currency. What has no value in it is left out and told: `unpriced`
-- counts the open positions without a last price, `unconverted` the currencies without a rate in
-- which there is anything. fx_date is that of the oldest rate used for another currency. Joined by
-- LATERAL, so that who asks for some accounts pays for what these own alone.
CREATE VIEW reporting.equity WITH (security_invoker = TRUE) AS
SELECT
    a.account_id,
    a.currency,
    coalesce(k.cash, 0) AS cash,
    coalesce(k.market_value, 0) AS market_value,
    coalesce(k.cash + k.market_value, 0) AS equity,
    coalesce(k.unrealized_pnl, 0) AS unrealized_pnl,
    coalesce(k.realized_pnl, 0) AS realized_pnl,
    coalesce(k.fees, 0) AS fees,
    coalesce(k.gross_exposure, 0) AS gross_exposure,
    coalesce(k.unpriced, 0) AS unpriced,
    coalesce(k.unconverted, 0) AS unconverted,
    k.fx_date,
    k.price_received_at
FROM app.accounts AS a
LEFT JOIN LATERAL (
    SELECT
        coalesce(sum(v.cash_converted), 0) AS cash,
        coalesce(sum(v.market_value_converted), 0) AS market_value,
        sum(v.unrealized_pnl_converted) AS unrealized_pnl,
        sum(v.realized_pnl_converted) AS realized_pnl,
        sum(v.fees_converted) AS fees,
        sum(v.gross_exposure_converted) AS gross_exposure,
        sum(v.unpriced)::bigint AS unpriced,
        count(*) FILTER (
            WHERE v.fx_rate IS NULL AND (
                v.open_positions > 0 OR v.cash <> 0 OR v.realized_pnl <> 0 OR v.fees <> 0
            )
        ) AS unconverted,
        min(v.fx_date) FILTER (WHERE v.currency <> v.account_currency) AS fx_date,
        min(v.price_received_at) AS price_received_at
    FROM reporting.equity_by_currency AS v
    WHERE v.account_id = a.account_id
) AS k ON TRUE;

CREATE VIEW reporting.equity_history WITH (security_invoker = TRUE) AS
SELECT
    e.account_id, e.equity_at, e.currency, e.cash, e.market_value,
    e.cash + e.market_value AS equity
FROM market.equity AS e;

-- The day began at 0:00 UTC. What the account was worth then is the last sample before, nothing for
-- an account that was opened since, else the first sample since; what was paid in or out after that
-- is taken off. Without a sample, or with something that has no price or no rate, day_pnl is null.
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
    e.gross_exposure,
    CASE WHEN e.unpriced + e.unconverted = 0 THEN e.equity - base.equity - (
        SELECT CASE
            WHEN count(*) = count(m.amount_converted) THEN coalesce(sum(m.amount_converted), 0)
        END
        FROM reporting.cash_movements AS m
        WHERE m.account_id = e.account_id AND m.created_at > base.equity_at
    ) END AS day_pnl,
    o.open_orders,
    o.notional_max / a.order_notional_max AS limit_use,
    e.unpriced,
    e.unconverted,
    e.fx_date,
    e.price_received_at
FROM reporting.equity AS e
JOIN reporting.accounts AS a ON a.account_id = e.account_id
CROSS JOIN LATERAL (
    SELECT
        count(*) AS open_orders,
        max(
            (w.quantity - w.cum_quantity) * coalesce(w.limit_price, l.price) * i.multiplier
        ) AS notional_max
    FROM app.orders AS w
    JOIN app.instruments AS i ON i.instrument_id = w.instrument_id
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
