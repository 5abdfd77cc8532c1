-- Where profit and loss come from over a span of time. Laid anew, as app_owner, after
-- 24_reporting_results.sql, through which it reads: with the rights and policies of who asks. Holds
-- no data. Test: test_reporting_spans.py

-- attribution_since(accounts, from) -> what each symbol and strategy made since then
-- pnl is the value now less the value then, less what was paid for executions since (a sale pays
-- back), less their fees; nothing of it depends on how cost is counted. The value then is the last
-- quote before, at most seven days old, else the close of the last whole day's bar before; without
-- any, and for what is held now without a last price, pnl is null. `strategy` is null without one.
CREATE FUNCTION reporting.attribution_since(p_account_ids bigint [], p_from timestamptz)
RETURNS TABLE (
    account_id bigint,
    symbol text,
    strategy text,
    currency text,
    quantity_start numeric,
    quantity numeric,
    traded numeric,
    fees numeric,
    pnl numeric
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH parts AS (
        SELECT
            v.account_id,
            v.symbol,
            v.strategy,
            sum(v.quantity) AS quantity,
            sum(v.quantity) - sum(v.bought) AS quantity_start,
            sum(v.traded) AS traded,
            sum(v.paid) AS paid,
            sum(v.fees) AS fees
        FROM (
            SELECT
                a.account_id, a.symbol, a.strategy, a.quantity, 0::numeric AS bought,
                0::numeric AS traded, 0::numeric AS paid, 0::numeric AS fees
            FROM reporting.pnl_attribution AS a
            WHERE a.account_id = ANY (p_account_ids)
            UNION ALL
            SELECT
                e.account_id,
                e.symbol,
                s.name,
                0,
                w.way * e.quantity,
                e.notional,
                w.way * e.notional,
                CASE WHEN e.fee_currency = e.currency THEN e.fee ELSE 0 END
            FROM reporting.executions AS e
            JOIN reporting.orders AS o ON o.order_id = e.order_id
            LEFT JOIN reporting.strategies AS s ON s.strategy_id = o.strategy_id
            CROSS JOIN LATERAL (SELECT CASE e.side WHEN 'buy' THEN 1 ELSE -1 END AS way) AS w
            WHERE e.account_id = ANY (p_account_ids) AND e.executed_at >= p_from
        ) AS v
        GROUP BY v.account_id, v.symbol, v.strategy
    ),
    -- Once for each symbol, and by the instrument's key, so that a price is the end of an index.
    marks AS MATERIALIZED (
        SELECT
            i.symbol,
            i.currency,
            i.multiplier,
            i.last_price AS price,
            coalesce(
                (
                    SELECT q.price FROM reporting.quotes AS q
                    WHERE q.instrument_id = i.instrument_id
                        AND q.quote_at < p_from
                        AND q.quote_at > p_from - interval '7 days'
                    ORDER BY q.quote_at DESC
                    LIMIT 1
                ),
                (
                    SELECT b.close FROM reporting.bars AS b
                    WHERE b.instrument_id = i.instrument_id
                        AND b.resolution = '1d'
                        AND b.bar_at <= p_from - interval '1 day'
                    ORDER BY b.bar_at DESC
                    LIMIT 1
                )
            ) AS price_start
        FROM reporting.instruments AS i
        WHERE i.symbol IN (SELECT p.symbol FROM parts AS p)
    )
    SELECT
        p.account_id,
        p.symbol,
        p.strategy,
        m.currency,
        p.quantity_start,
        p.quantity,
        p.traded,
        p.fees,
        CASE WHEN p.quantity = 0 THEN 0 ELSE p.quantity * m.price * m.multiplier END
        - CASE
            WHEN p.quantity_start = 0 THEN 0
            ELSE p.quantity_start * m.price_start * m.multiplier
        END
        - p.paid - p.fees
    FROM parts AS p
    JOIN marks AS m ON m.symbol = p.symbol
    WHERE p.quantity <> 0 OR p.quantity_start <> 0 OR p.traded <> 0
$$;
