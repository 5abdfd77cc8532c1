-- sp_risk_facts(account, instrument, strategy, type, time in force, order left out, care)
--               -> app.risk_facts
-- What the risk rules look at; all orders that agree in these are judged by the same facts. Money
-- is in the account's currency, by the latest rate; what has no rate is told, never left out in
-- silence. An old price still values a position; none at all is told.
-- Open orders are looked at with the care asked for; what passes by less of it passes by more: 0 is
-- the bound that is kept of them, where it is known, 1 is sp_open_orders, 2 is exact.
-- Writes nothing; a caller that acts on the facts holds the stream lock.
-- Internal: sp_risk_check, the procedures of placing. Test: test_sp_risk.py, test_sp_risk_money.py

CREATE OR REPLACE FUNCTION app.sp_risk_facts(
    p_account_id bigint, p_instrument_id integer, p_strategy_id bigint, p_order_type text,
    p_time_in_force text, p_order_id bigint, p_care integer
)
RETURNS app.risk_facts
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    r record;
    -- What one point of the instrument is worth and what the account has in cash, null without a
    -- rate.
    v_point_value numeric;
    v_cash numeric;
    -- What the account holds, null when nothing: of the instrument, and the value of all of it.
    v_quantity numeric;
    v_value numeric;
    v_gross numeric;
    v_unpriced boolean;
    v_unconverted boolean;
    o app.open_orders;
    v_bound app.open_bound;
    v_counted record;
    v_not_supported text;
BEGIN
    SELECT
        ARRAY(
            SELECT t.state FROM app.trading_states AS t
            -- One look into the index for all three, of which the last line leaves what is meant.
            WHERE t.scope = ANY ('{global,account,strategy}')
                AND t.scope_id = ANY (ARRAY[0, p_account_id, p_strategy_id])
                AND t.scope_id = CASE t.scope
                    WHEN 'global' THEN 0 WHEN 'account' THEN p_account_id ELSE p_strategy_id
                END
        ) AS states,
        v.route IS NOT NULL AS supported, a.route,
        i.tradable, NOT EXISTS (
            SELECT FROM app.account_instruments AS x WHERE x.account_id = p_account_id
        ) OR EXISTS (
            SELECT FROM app.account_instruments AS x
            WHERE x.account_id = p_account_id AND x.instrument_id = p_instrument_id
        ) AS allowed,
        i.tick_size, i.lot_size, l.order_quantity_max, l.order_notional_max, l.price_collar,
        p.price, (
            clock_timestamp() - p.received_at <= app.sp_quote_stale_after(p.source)
        ) IS NOT TRUE AS stale,
        a.currency AS account_currency, i.currency, i.multiplier,
        CASE WHEN i.currency = a.currency THEN i.multiplier END AS fixed_point_value,
        l.position_quantity_max, l.open_orders_max, s.rate_at, s.open_bound,
        l.orders_per_minute_max,
        l.daily_loss_max, l.leverage_max, coalesce(d.equity, 0) AS day_equity,
        coalesce((
            SELECT c.amount FROM app.cash_balances AS c
            WHERE c.account_id = p_account_id AND c.currency = a.currency
        ), 0) AS own_cash, EXISTS (
            SELECT FROM app.cash_balances AS b
            WHERE b.account_id = p_account_id AND b.currency <> a.currency AND b.amount <> 0
        ) AS foreign_cash, EXISTS (
            SELECT FROM app.positions AS x
            WHERE x.account_id = p_account_id AND x.quantity <> 0
        ) AS holds
    INTO r
    FROM app.accounts AS a
    JOIN app.streams AS s ON s.stream_id = a.account_id
    JOIN app.instruments AS i ON i.instrument_id = p_instrument_id
    LEFT JOIN app.route_capabilities AS v
        ON (v.route, v.order_type, v.time_in_force) = (a.route, p_order_type, p_time_in_force)
    LEFT JOIN app.risk_limits AS l ON l.account_id = a.account_id
    LEFT JOIN market.last_prices AS p ON p.instrument_id = i.instrument_id
    LEFT JOIN app.day_equity AS d ON d.account_id = a.account_id
    WHERE a.account_id = p_account_id;

    v_point_value := r.fixed_point_value;
    v_cash := r.own_cash;
    IF r.fixed_point_value IS NULL THEN
        v_point_value := r.multiplier * app.sp_fx_today(r.currency, r.account_currency);
    END IF;
    IF r.foreign_cash THEN
        SELECT CASE WHEN count(*) = count(c.amount) THEN r.own_cash + sum(c.amount) END
        INTO v_cash
        FROM (
            SELECT b.amount * app.sp_fx_today(b.currency, r.account_currency) AS amount
            FROM app.cash_balances AS b
            WHERE b.account_id = p_account_id
                AND b.currency <> r.account_currency
                AND b.amount <> 0
        ) AS c;
    END IF;
    IF NOT r.supported THEN
        v_not_supported := CASE WHEN EXISTS (
            SELECT FROM app.route_capabilities AS w
            WHERE (w.route, w.order_type) = (r.route, p_order_type)
        ) THEN 'TIME_IN_FORCE_NOT_SUPPORTED' ELSE 'ORDER_TYPE_NOT_SUPPORTED' END;
    END IF;
    IF r.holds THEN
        SELECT
            coalesce(sum(x.quantity) FILTER (WHERE x.instrument_id = p_instrument_id), 0),
            coalesce(sum(w.value), 0),
            coalesce(sum(abs(w.value)), 0),
            bool_or(m.price IS NULL),
            bool_or(m.price IS NOT NULL AND w.value IS NULL)
        INTO v_quantity, v_value, v_gross, v_unpriced, v_unconverted
        FROM app.positions AS x
        JOIN app.instruments AS k ON k.instrument_id = x.instrument_id
        LEFT JOIN market.last_prices AS m ON m.instrument_id = x.instrument_id
        CROSS JOIN LATERAL (
            SELECT x.quantity * m.price * k.multiplier * app.sp_fx_today(k.currency, r.account_currency)
                AS value
        ) AS w
        WHERE x.account_id = p_account_id AND x.quantity <> 0;
    END IF;
    v_bound := r.open_bound;
    IF p_care = 2 THEN
        o := app.sp_risk_orders(p_account_id, p_instrument_id, p_order_id);
    ELSIF p_care = 0 AND v_bound.value IS NOT NULL THEN
        o := ROW(
            v_bound.orders, v_bound.buys, v_bound.sells, v_bound.buys, v_bound.sells,
            v_bound.value, FALSE, FALSE
        )::app.open_orders;
    ELSE
        v_counted := app.sp_open_orders(p_account_id, p_instrument_id, p_order_id);
        o := v_counted.seen;
        v_bound := v_counted.bound;
    END IF;
    RETURN ROW(
        clock_timestamp(), r.states, v_not_supported, r.tradable, r.allowed, r.tick_size,
        r.lot_size, r.order_quantity_max, r.order_notional_max, r.price_collar, r.price, r.stale,
        v_point_value, coalesce(v_quantity, 0), r.position_quantity_max, o.buys, o.sells,
        o.ahead_buys, o.ahead_sells, CASE WHEN p_order_id IS NULL THEN o.orders END,
        r.open_orders_max,
        CASE WHEN p_order_id IS NULL THEN r.rate_at END, r.orders_per_minute_max,
        coalesce(v_unpriced, FALSE) OR o.unpriced,
        v_point_value IS NULL OR v_cash IS NULL OR coalesce(v_unconverted, FALSE)
        OR o.unconverted,
        v_cash + coalesce(v_value, 0), r.day_equity - v_cash - coalesce(v_value, 0),
        r.daily_loss_max,
        (v_cash + coalesce(v_value, 0)) * r.leverage_max - coalesce(v_gross, 0) - o.opening,
        r.leverage_max, r.fixed_point_value, v_bound
    )::app.risk_facts;
END
$$;
