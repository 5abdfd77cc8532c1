-- sp_open_orders(account, instrument, order left out) -> seen app.open_orders, bound app.open_bound
-- What the open orders of an account bind at most: every one taken to open in full. Seen is what
-- the risk rules see, of the instrument, at the prices and rates of now; bound is of all
-- instruments, and what placing keeps: its value is null when one of them is at the market or in
-- another currency, since that moves. Writes nothing.
-- Internal: sp_risk_facts, sp_integrity_find. Test: test_sp_open_bound.py, test_sp_risk.py

CREATE OR REPLACE FUNCTION app.sp_open_orders(
    p_account_id bigint,
    p_instrument_id integer,
    p_order_id bigint,
    OUT seen app.open_orders,
    OUT bound app.open_bound
)
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    c record;
BEGIN
    SELECT
        coalesce(sum(y.orders), 0)::bigint AS orders,
        coalesce(sum(y.leaves) FILTER (WHERE y.buys AND y.same), 0) AS buys,
        coalesce(sum(y.leaves) FILTER (WHERE NOT y.buys AND y.same), 0) AS sells,
        coalesce(sum(y.leaves) FILTER (WHERE y.buys), 0) AS all_buys,
        coalesce(sum(y.leaves) FILTER (WHERE NOT y.buys), 0) AS all_sells,
        coalesce(sum(y.value * k.multiplier), 0) AS value,
        coalesce(sum(
            (y.value + y.at_market * coalesce(m.price, 0)) * k.multiplier
            * app.sp_fx_today(k.currency, a.currency)
        ), 0) AS opening,
        coalesce(bool_or(y.at_market > 0 AND m.price IS NULL), FALSE) AS unpriced,
        coalesce(bool_or(app.sp_fx_today(k.currency, a.currency) IS NULL), FALSE) AS unconverted,
        coalesce(bool_and(y.at_market = 0 AND k.currency = a.currency), TRUE) AS stays
    INTO c
    FROM (
        SELECT
            x.instrument_id, x.side = 'buy' AS buys, x.instrument_id = p_instrument_id AS same,
            count(*) AS orders, sum(v.leaves) AS leaves,
            coalesce(sum(v.leaves * v.price), 0) AS value,
            coalesce(sum(v.leaves) FILTER (WHERE v.price IS NULL), 0) AS at_market
        FROM app.orders AS x
        CROSS JOIN LATERAL (
            SELECT
                greatest(x.quantity - x.cum_quantity, x.pending_quantity - x.cum_quantity, 0)
                    AS leaves,
                coalesce(
                    greatest(x.limit_price, x.pending_limit_price),
                    greatest(x.stop_price, x.pending_stop_price)
                ) AS price
        ) AS v
        WHERE x.account_id = p_account_id
            AND x.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
            AND (p_order_id IS NULL OR x.order_id <> p_order_id)
        GROUP BY x.instrument_id, x.side
    ) AS y
    JOIN app.instruments AS k ON k.instrument_id = y.instrument_id
    JOIN app.accounts AS a ON a.account_id = p_account_id
    LEFT JOIN market.last_prices AS m ON m.instrument_id = y.instrument_id;
    seen := ROW(
        c.orders, c.buys, c.sells, c.buys, c.sells, c.opening, c.unpriced, c.unconverted
    );
    bound := ROW(c.orders, c.all_buys, c.all_sells, CASE WHEN c.stays THEN c.value END);
END
$$;
