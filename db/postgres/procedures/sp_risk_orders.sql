-- sp_risk_orders(account, instrument, order left out)
--               -> app.open_orders
-- What the open orders of an account have left: of the instrument per side, and what of it was
-- placed before the order left out; opening is what those in the instrument's currency bind. Each
-- binds what it would open after the earlier ones of its side have closed the position.
-- Internal: sp_risk_facts. Test: test_sp_risk.py

CREATE OR REPLACE FUNCTION app.sp_risk_orders(
    p_account_id bigint,
    p_instrument_id integer,
    p_order_id bigint
)
RETURNS app.open_orders
LANGUAGE sql
STABLE
AS $$
    SELECT
        count(*) AS orders,
        coalesce(sum(v.leaves) FILTER (WHERE v.buys), 0) AS buys,
        coalesce(sum(v.leaves) FILTER (WHERE NOT v.buys), 0) AS sells,
        coalesce(sum(v.leaves) FILTER (WHERE v.buys AND v.ahead), 0) AS ahead_buys,
        coalesce(sum(v.leaves) FILTER (WHERE NOT v.buys AND v.ahead), 0) AS ahead_sells,
        coalesce(sum(
            least(v.leaves, greatest(v.upto - greatest(v.closable, 0), 0)) * v.price * v.point_value
        ), 0) AS opening,
        coalesce(bool_or(v.price IS NULL), FALSE) AS unpriced,
        coalesce(bool_or(v.point_value IS NULL), FALSE) AS unconverted
    FROM (
        SELECT
            x.order_id, y.leaves, k.multiplier * app.sp_fx_today(k.currency, a.currency)
                AS point_value,
            coalesce(
                greatest(x.limit_price, x.pending_limit_price),
                greatest(x.stop_price, x.pending_stop_price), m.price
            ) AS price,
            CASE WHEN x.instrument_id = p_instrument_id THEN x.side = 'buy' END AS buys,
            coalesce(x.order_id < p_order_id, TRUE) AS ahead,
            sum(y.leaves) OVER w AS upto,
            CASE x.side WHEN 'sell' THEN q.quantity ELSE -q.quantity END AS closable
        FROM app.orders AS x
        CROSS JOIN LATERAL (
            SELECT greatest(x.quantity, x.pending_quantity) - x.cum_quantity AS leaves
        ) AS y
        JOIN app.accounts AS a ON a.account_id = x.account_id
        JOIN app.instruments AS k ON k.instrument_id = x.instrument_id
        LEFT JOIN market.last_prices AS m ON m.instrument_id = x.instrument_id
        LEFT JOIN app.positions AS q
            ON q.account_id = x.account_id AND q.instrument_id = x.instrument_id
        WHERE x.account_id = p_account_id
            AND x.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        WINDOW w AS (PARTITION BY x.instrument_id, x.side ORDER BY x.order_id)
    ) AS v
    WHERE v.order_id IS DISTINCT FROM p_order_id
$$;
