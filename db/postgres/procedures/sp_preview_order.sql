-- sp_preview_order(user, session, account, symbol, side, type, quantity, limit, stop,
--                  time in force, expiry, strategy) -> one row
-- What sp_place_order would do with this order now: the same refusals, the same form and the same
-- risk rules on the same facts. A null reason_code means it would be accepted. The other columns
-- say what it would mean if it filled in full at its limit, or at the last price, and how far each
-- limit is used: position_if_filled by this and all open orders of its side, orders_in_minute by
-- the orders before it, buying_power_needed of the buying_power that is left. Nothing is locked or
-- counted, so the answer holds for this moment alone.
-- SQLSTATE as sp_place_order, without those of the client order id.
-- Called by app_write. Test: test_sp_preview_order.py, test_sp_risk_model.py

CREATE OR REPLACE FUNCTION app.sp_preview_order(
    p_user_id uuid, p_session text, p_account_id bigint, p_symbol text, p_side text,
    p_order_type text, p_quantity numeric, p_limit_price numeric, p_stop_price numeric,
    p_time_in_force text, p_expires_at timestamptz, p_strategy_id bigint
)
RETURNS TABLE (
    reason_code text, quantity_max numeric, currency text, notional numeric,
    estimated_fee numeric, mark_price numeric, mark_age_s double precision,
    position_before numeric, position_after numeric, cash_before numeric, cash_after numeric,
    order_quantity_max numeric, order_notional_max numeric, price_collar numeric,
    open_orders bigint, position_if_filled numeric, position_quantity_max numeric,
    account_open_orders bigint, open_orders_max integer, orders_in_minute integer,
    orders_per_minute_max integer, user_orders_in_minute integer,
    user_orders_per_minute_max integer, daily_loss numeric, daily_loss_max numeric,
    buying_power_needed numeric, buying_power numeric, equity numeric, leverage_max numeric
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_quantity numeric := trim_scale(p_quantity);
    v_sign numeric := CASE p_side WHEN 'sell' THEN -1 ELSE 1 END;
    v_instrument_id integer;
    f app.risk_facts;
BEGIN
    PERFORM app.sp_authorize_trade(p_user_id, p_session, p_account_id);
    PERFORM app.sp_order_check(
        'preview', 'preview', p_side, p_order_type, p_quantity, p_limit_price, p_stop_price,
        p_time_in_force, p_expires_at
    );
    v_instrument_id := app.sp_order_instrument(
        p_symbol, p_account_id, p_strategy_id, p_expires_at
    );
    f := app.sp_risk_facts(
        p_account_id, v_instrument_id, p_strategy_id, p_order_type, p_time_in_force, NULL, 2
    );

    RETURN QUERY
    SELECT
        coalesce(r.reason_code, CASE
            WHEN app.sp_rate_full(w.rate_at, f.at, u.orders_per_minute_max, 1)
                THEN 'USER_ORDER_RATE_EXCEEDED'
        END),
        r.quantity_max,
        i.currency,
        n.notional,
        e.fee,
        p.price,
        extract(EPOCH FROM clock_timestamp() - p.received_at)::double precision,
        f.position_quantity,
        f.position_quantity + v_sign * v_quantity,
        c.amount,
        c.amount - v_sign * n.notional - e.fee,
        f.order_quantity_max,
        f.order_notional_max,
        f.price_collar,
        (
            SELECT count(*) FROM app.orders AS o
            WHERE o.account_id = p_account_id
                AND o.instrument_id = v_instrument_id
                AND o.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        ),
        f.position_quantity
        + v_sign * (v_quantity + CASE p_side WHEN 'sell' THEN f.open_sells ELSE f.open_buys END),
        f.position_quantity_max,
        f.open_orders,
        f.open_orders_max,
        app.sp_rate_used(f.rate_at, f.at, f.orders_per_minute_max),
        f.orders_per_minute_max,
        app.sp_rate_used(w.rate_at, f.at, u.orders_per_minute_max),
        u.orders_per_minute_max,
        f.daily_loss,
        f.daily_loss_max,
        r.opening,
        f.buying_power,
        f.equity,
        f.leverage_max
    FROM app.sp_risk_decide(
        p_side, p_quantity, 0, p_limit_price, p_stop_price, f, 0, 0, 0, 0
    ) AS r
    JOIN app.users AS u ON u.user_id = p_user_id
    LEFT JOIN app.user_rates AS w ON w.user_id = u.user_id
    CROSS JOIN app.instruments AS i
    LEFT JOIN market.last_prices AS p ON p.instrument_id = i.instrument_id
    CROSS JOIN LATERAL (
        SELECT v_quantity * coalesce(p_limit_price, p.price) * i.multiplier AS notional
    ) AS n
    CROSS JOIN LATERAL (SELECT app.sp_estimated_fee(v_quantity, n.notional) AS fee) AS e
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(b.amount), 0) AS amount
        FROM app.cash_balances AS b
        WHERE b.account_id = p_account_id AND b.currency = i.currency
    ) AS c
    WHERE i.instrument_id = v_instrument_id;
END
$$;
