-- sp_preview_order(user, session, account, symbol, side, type, quantity, limit, stop,
--                  time in force, expiry, strategy) -> one row
-- What sp_place_order would do with this order now: the same refusals, the same form and the same
-- risk rules, through the same routines, on a row that is never written. A null reason_code means
-- it would be accepted. The other columns say what it would mean if it filled in full at its limit,
-- or at the last price. Nothing is locked, so the answer holds for this moment alone.
-- SQLSTATE as sp_place_order, without those of the client order id.
-- Called by app_write. Test: test_sp_preview_order.py

CREATE OR REPLACE FUNCTION app.sp_preview_order(
    p_user_id uuid,
    p_session text,
    p_account_id bigint,
    p_symbol text,
    p_side text,
    p_order_type text,
    p_quantity numeric,
    p_limit_price numeric,
    p_stop_price numeric,
    p_time_in_force text,
    p_expires_at timestamptz,
    p_strategy_id bigint
)
RETURNS TABLE (
    reason_code text,
    quantity_max numeric,
    currency text,
    notional numeric,
    estimated_fee numeric,
    mark_price numeric,
    mark_age_s double precision,
    position_before numeric,
    position_after numeric,
    cash_before numeric,
    cash_after numeric,
    order_quantity_max numeric,
    order_notional_max numeric,
    price_collar numeric,
    open_orders bigint
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_order app.orders;
    v_sign numeric := CASE p_side WHEN 'sell' THEN -1 ELSE 1 END;
BEGIN
    PERFORM app.sp_authorize_trade(p_user_id, p_session, p_account_id);
    PERFORM app.sp_order_check(
        'preview', 'preview', p_side, p_order_type, p_quantity, p_limit_price, p_stop_price,
        p_time_in_force, p_expires_at
    );
    v_order := jsonb_populate_record(NULL::app.orders, jsonb_build_object(
        'account_id', p_account_id,
        'strategy_id', p_strategy_id,
        'instrument_id',
        app.sp_order_instrument(p_symbol, p_account_id, p_strategy_id, p_expires_at),
        'side', p_side,
        'order_type', p_order_type,
        'time_in_force', p_time_in_force,
        'expires_at', p_expires_at,
        'quantity', trim_scale(p_quantity),
        'limit_price', trim_scale(p_limit_price),
        'stop_price', trim_scale(p_stop_price)
    ));

    RETURN QUERY
    SELECT
        r.reason_code,
        r.quantity_max,
        i.currency,
        n.notional,
        f.fee,
        p.price,
        extract(EPOCH FROM clock_timestamp() - p.received_at)::double precision,
        h.quantity,
        h.quantity + v_sign * v_order.quantity,
        c.amount,
        c.amount - v_sign * n.notional - f.fee,
        l.order_quantity_max,
        l.order_notional_max,
        l.price_collar,
        (
            SELECT count(*) FROM app.orders AS o
            WHERE o.account_id = p_account_id
                AND o.instrument_id = v_order.instrument_id
                AND o.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        )
    FROM app.sp_risk_check(v_order) AS r
    CROSS JOIN app.instruments AS i
    LEFT JOIN market.last_prices AS p ON p.instrument_id = i.instrument_id
    LEFT JOIN app.risk_limits AS l ON l.account_id = p_account_id
    CROSS JOIN LATERAL (
        SELECT v_order.quantity * coalesce(v_order.limit_price, p.price) AS notional
    ) AS n
    CROSS JOIN LATERAL (
        SELECT app.sp_estimated_fee(v_order.quantity, n.notional) AS fee
    ) AS f
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(x.quantity), 0) AS quantity
        FROM app.positions AS x
        WHERE x.account_id = p_account_id AND x.instrument_id = i.instrument_id
    ) AS h
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(b.amount), 0) AS amount
        FROM app.cash_balances AS b
        WHERE b.account_id = p_account_id AND b.currency = i.currency
    ) AS c
    WHERE i.instrument_id = v_order.instrument_id;
END
$$;
