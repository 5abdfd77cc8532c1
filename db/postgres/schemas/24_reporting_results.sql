-- What the reports read of results: by day and month, by symbol and strategy, and what it cost.
-- Laid anew, as app_owner, after 21_reporting_days.sql and 23_reporting_risk.sql, through which
-- it reads: with the rights and policies of who asks. Holds no data.

CREATE AGGREGATE reporting.product (double precision) (
    SFUNC = pg_catalog.float8mul, STYPE = double precision, INITCOND = '1'
);

-- daily_returns(accounts, first day, last day) -> the days of reporting.daily_pnl, as returns
-- A day's return is its P&L over the money that worked that day: the equity at its start and what
-- was paid in. growth compounds the returns since before the first day, drawdown is its fall from
-- the best day before, that before the first included. Days without money have a return of null
-- and leave both as they were.
CREATE FUNCTION reporting.daily_returns(p_account_ids bigint [], p_from_day date, p_to_day date)
RETURNS TABLE (
    day date,
    currency text,
    pnl numeric,
    daily_return double precision,
    growth double precision,
    drawdown double precision
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        g.day,
        g.currency,
        g.pnl,
        g.daily_return,
        g.growth,
        CASE WHEN g.best > 0 THEN g.growth / g.best - 1 END
    FROM (
        SELECT
            c.*,
            greatest(max(c.growth) OVER (PARTITION BY c.currency ORDER BY c.day), 1) AS best
        FROM (
            SELECT
                r.*,
                reporting.product(1 + coalesce(r.daily_return, 0)) OVER (
                    PARTITION BY r.currency ORDER BY r.day
                ) AS growth
            FROM (
                SELECT
                    d.day,
                    d.currency,
                    d.pnl,
                    CASE WHEN d.equity_start + greatest(d.net_flow, 0) > 0 THEN
                        d.pnl / (d.equity_start + greatest(d.net_flow, 0))
                    END::double precision AS daily_return
                FROM reporting.daily_pnl(p_account_ids, p_from_day, p_to_day) AS d
            ) AS r
        ) AS c
    ) AS g
    ORDER BY g.day, g.currency
$$;

-- pnl_monthly(accounts, first day, last day) -> the same days by month, per currency
-- monthly_return compounds the daily returns. A month of which not all days lie in the span holds
-- those that do; days counts them.
CREATE FUNCTION reporting.pnl_monthly(p_account_ids bigint [], p_from_day date, p_to_day date)
RETURNS TABLE (
    month date,
    currency text,
    days bigint,
    pnl numeric,
    monthly_return double precision
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        date_trunc('month', d.day::timestamp)::date AS month,
        d.currency,
        count(*),
        sum(d.pnl),
        CASE WHEN count(d.daily_return) > 0 THEN
            reporting.product(1 + coalesce(d.daily_return, 0) ORDER BY d.day) - 1
        END
    FROM reporting.daily_returns(p_account_ids, p_from_day, p_to_day) AS d
    GROUP BY 1, d.currency
    ORDER BY 1, d.currency
$$;

-- Where profit and loss come from since the account was opened: by symbol and by strategy within
-- it (null: without one). pnl = realized + unrealized - fees, null without a last price. A flat
-- position stays for what it realized.
CREATE VIEW reporting.pnl_attribution WITH (security_invoker = TRUE) AS
SELECT
    b.account_id,
    i.symbol,
    s.name AS strategy,
    i.currency,
    b.quantity,
    b.realized_pnl,
    CASE
        WHEN b.quantity = 0 THEN 0
        ELSE b.quantity * l.price * i.multiplier - b.cost
    END AS unrealized_pnl,
    b.fees,
    b.realized_pnl - b.fees
    + CASE WHEN b.quantity = 0 THEN 0 ELSE b.quantity * l.price * i.multiplier - b.cost END AS pnl
FROM reporting.books AS b
JOIN app.instruments AS i ON i.instrument_id = b.instrument_id
LEFT JOIN app.strategies AS s ON s.strategy_id = b.strategy_id
LEFT JOIN market.last_prices AS l ON l.instrument_id = b.instrument_id;

-- How well each order that was sent did. arrival_price is the last price when it was recorded.
-- Slippage compares the average price with it, a cost is positive: slippage_bps per price,
-- slippage in money for what was filled. Fees in another currency than the instrument's do not
-- count. time_to_fill_s goes from placing to the last fill of an order that is filled.
CREATE VIEW reporting.execution_quality WITH (security_invoker = TRUE) AS
SELECT
    o.order_id,
    o.account_id,
    i.symbol,
    s.name AS strategy,
    i.currency,
    i.multiplier,
    o.side,
    o.order_type,
    o.time_in_force,
    o.status,
    o.created_at AS placed_at,
    o.quantity,
    o.cum_quantity,
    o.cum_quantity / o.quantity AS fill_rate,
    o.arrival_price,
    o.average_price,
    f.notional,
    w.way * (o.average_price - o.arrival_price) * o.cum_quantity * i.multiplier AS slippage,
    w.way * (o.average_price / o.arrival_price - 1) * 10000 AS slippage_bps,
    f.fees,
    f.fees / f.notional * 10000 AS fees_bps,
    extract(EPOCH FROM f.first_at - o.created_at) AS time_to_first_fill_s,
    CASE WHEN o.status = 'filled' THEN
        extract(EPOCH FROM f.last_at - o.created_at)
    END AS time_to_fill_s
FROM app.orders AS o
JOIN app.instruments AS i ON i.instrument_id = o.instrument_id
LEFT JOIN app.strategies AS s ON s.strategy_id = o.strategy_id
CROSS JOIN LATERAL (SELECT CASE o.side WHEN 'buy' THEN 1 ELSE -1 END AS way) AS w
LEFT JOIN LATERAL (
    SELECT
        sum(e.notional) AS notional,
        sum(e.fee) FILTER (WHERE e.fee_currency = e.currency) AS fees,
        min(e.executed_at) AS first_at,
        max(e.executed_at) AS last_at
    FROM reporting.executions AS e
    WHERE e.order_id = o.order_id AND o.cum_quantity > 0
) AS f ON TRUE
WHERE o.status <> 'denied' AND o.origin = 'api';

-- execution_costs(accounts, from, to) -> the same added up by symbol, of orders placed in the span
-- slippage_bps and fees_bps are per money traded, so that a large order counts for what it is;
-- slippage_bps over those orders alone whose arrival price is known. fill_rate is the filled share
-- of the quantity ordered; time_to_fill_s is the median.
CREATE FUNCTION reporting.execution_costs(
    p_account_ids bigint [], p_from timestamptz, p_to timestamptz
)
RETURNS TABLE (
    symbol text,
    currency text,
    orders bigint,
    filled bigint,
    fill_rate numeric,
    notional numeric,
    slippage numeric,
    slippage_bps numeric,
    fees numeric,
    fees_bps numeric,
    time_to_fill_s double precision
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        v.symbol,
        v.currency,
        count(*),
        count(*) FILTER (WHERE v.status = 'filled'),
        sum(v.cum_quantity) / sum(v.quantity),
        coalesce(sum(v.notional), 0),
        sum(v.slippage),
        sum(v.slippage) / nullif(
            sum(v.cum_quantity * v.arrival_price * v.multiplier)
            FILTER (WHERE v.slippage IS NOT NULL), 0
        ) * 10000,
        coalesce(sum(v.fees), 0),
        sum(v.fees) / nullif(sum(v.notional), 0) * 10000,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY v.time_to_fill_s::double precision)
    FROM reporting.execution_quality AS v
    WHERE v.account_id = ANY (p_account_ids) AND v.placed_at >= p_from AND v.placed_at < p_to
    GROUP BY v.symbol, v.currency
    ORDER BY v.symbol, v.currency
$$;
