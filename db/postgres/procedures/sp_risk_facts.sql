-- sp_risk_facts(account, instrument, strategy, type, time in force, order left out, exact)
--               -> app.risk_facts
-- What the risk rules look at; all orders that agree in these are judged by the same facts.
-- Currencies are never mixed: equity and daily loss are in the account's, buying power is what the
-- account owns in the instrument's. An old price still values a position; none at all is told.
-- Unless asked to be exact, every open order is taken to open in full, in any currency, and one at
-- the market to have no price: what passes by that passes, what does not is looked at again.
-- Writes nothing; a caller that acts on the facts holds the stream lock.
-- Internal: sp_risk_check, the procedures of placing. Test: test_sp_risk.py

CREATE OR REPLACE FUNCTION app.sp_risk_facts(
    p_account_id bigint, p_instrument_id integer, p_strategy_id bigint, p_order_type text,
    p_time_in_force text, p_order_id bigint, p_exact boolean
)
RETURNS app.risk_facts
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    v_facts app.risk_facts;
    v_quantity numeric := 0;
    v_own numeric := 0;
    v_value numeric := 0;
    v_gross numeric := 0;
    v_unpriced boolean := FALSE;
    o record;
BEGIN
    -- In three looks, since few accounts need all of them and each join has its price.
    IF EXISTS (
        SELECT FROM app.positions AS x WHERE x.account_id = p_account_id AND x.quantity <> 0
    ) THEN
        SELECT
            coalesce(sum(x.quantity) FILTER (WHERE x.instrument_id = p_instrument_id), 0),
            coalesce(sum(x.quantity * m.price) FILTER (WHERE k.currency = a.currency), 0),
            coalesce(sum(x.quantity * m.price) FILTER (WHERE k.currency = i.currency), 0),
            coalesce(sum(abs(x.quantity) * m.price) FILTER (WHERE k.currency = i.currency), 0),
            bool_or(m.price IS NULL)
        INTO v_quantity, v_own, v_value, v_gross, v_unpriced
        FROM app.positions AS x
        JOIN app.accounts AS a ON a.account_id = x.account_id
        JOIN app.instruments AS i ON i.instrument_id = p_instrument_id
        JOIN app.instruments AS k ON k.instrument_id = x.instrument_id
        LEFT JOIN market.last_prices AS m ON m.instrument_id = x.instrument_id
        WHERE x.account_id = p_account_id AND x.quantity <> 0;
    END IF;
    IF p_exact THEN
        o := app.sp_risk_orders(p_account_id, p_instrument_id, p_order_id);
    ELSE
        SELECT
            count(*) AS orders,
            sum(y.leaves) FILTER (WHERE y.buys) AS buys,
            sum(y.leaves) FILTER (WHERE NOT y.buys) AS sells,
            sum(y.leaves) FILTER (WHERE y.buys) AS ahead_buys,
            sum(y.leaves) FILTER (WHERE NOT y.buys) AS ahead_sells,
            sum(y.leaves * y.price) AS opening,
            bool_or(y.price IS NULL) AS unpriced
        INTO o
        FROM (
            SELECT
                greatest(x.quantity, x.pending_quantity) - x.cum_quantity AS leaves,
                coalesce(
                    greatest(x.limit_price, x.pending_limit_price),
                    greatest(x.stop_price, x.pending_stop_price)
                ) AS price,
                CASE WHEN x.instrument_id = p_instrument_id THEN x.side = 'buy' END AS buys
            FROM app.orders AS x
            WHERE x.account_id = p_account_id
                AND x.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        ) AS y;
    END IF;
    SELECT
        clock_timestamp(), ARRAY(
            SELECT t.state FROM app.trading_states AS t
            WHERE t.scope = 'global'
                OR (t.scope = 'account' AND t.scope_id = p_account_id)
                OR (t.scope = 'strategy' AND t.scope_id = p_strategy_id)
        ),
        CASE WHEN v.route IS NULL THEN CASE
            WHEN EXISTS (
                SELECT FROM app.route_capabilities AS w
                WHERE (w.route, w.order_type) = (a.route, p_order_type)
            ) THEN 'TIME_IN_FORCE_NOT_SUPPORTED'
            ELSE 'ORDER_TYPE_NOT_SUPPORTED'
        END END,
        i.tradable,
        coalesce((
            SELECT bool_or(v.instrument_id = i.instrument_id) FROM app.account_instruments AS v
            WHERE v.account_id = a.account_id
        ), TRUE),
        i.tick_size, i.lot_size, l.order_quantity_max, l.order_notional_max, l.price_collar,
        p.price, clock_timestamp() - p.received_at
        > CASE p.source WHEN 'quantconnect' THEN interval '120 s' ELSE interval '30 s' END,
        v_quantity, l.position_quantity_max, coalesce(o.buys, 0), coalesce(o.sells, 0),
        coalesce(o.ahead_buys, 0), coalesce(o.ahead_sells, 0),
        CASE WHEN p_order_id IS NULL THEN o.orders END, l.open_orders_max,
        CASE WHEN p_order_id IS NULL THEN s.rate_at END, l.orders_per_minute_max,
        v_unpriced OR coalesce(o.unpriced, FALSE), coalesce(c.amount, 0) + v_own,
        coalesce(d.equity, 0) - coalesce(c.amount, 0) - v_own, l.daily_loss_max,
        (coalesce(CASE WHEN i.currency = a.currency THEN c.amount ELSE (
            SELECT b.amount FROM app.cash_balances AS b
            WHERE b.account_id = a.account_id AND b.currency = i.currency
        ) END, 0) + v_value) * l.leverage_max - v_gross - coalesce(o.opening, 0), l.leverage_max
    INTO v_facts
    FROM app.accounts AS a
    JOIN app.streams AS s ON s.stream_id = a.account_id
    JOIN app.instruments AS i ON i.instrument_id = p_instrument_id
    LEFT JOIN app.route_capabilities AS v
        ON (v.route, v.order_type, v.time_in_force) = (a.route, p_order_type, p_time_in_force)
    LEFT JOIN app.risk_limits AS l ON l.account_id = a.account_id
    LEFT JOIN market.last_prices AS p ON p.instrument_id = i.instrument_id
    LEFT JOIN app.day_equity AS d ON d.account_id = a.account_id
    LEFT JOIN app.cash_balances AS c ON c.account_id = a.account_id AND c.currency = a.currency
    WHERE a.account_id = p_account_id;
    RETURN v_facts;
END
$$;
