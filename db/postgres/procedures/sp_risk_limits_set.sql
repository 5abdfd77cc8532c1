-- sp_risk_limits_set(actor, account, order quantity, order notional, collar, position quantity,
--                    open orders, orders a minute, daily loss, leverage, request id) -> nothing
-- Sets what an account may do; null is unchanged, and of an account without limits, which may not
-- trade, the default; the first three have none. Repeating it changes nothing; audited on the
-- account's stream when something changed.
-- IN404 account_not_found; IN422 order_quantity_max_invalid, order_notional_max_invalid,
-- price_collar_invalid, position_quantity_max_invalid, open_orders_max_invalid,
-- orders_per_minute_max_invalid, daily_loss_max_invalid, leverage_max_invalid.
-- Called by app_migrate, sp_admin_limits. Test: test_master_data.py

CREATE OR REPLACE FUNCTION app.sp_risk_limits_set(
    p_actor text, p_account_id bigint, p_order_quantity_max numeric, p_order_notional_max numeric,
    p_price_collar numeric, p_position_quantity_max numeric DEFAULT NULL,
    p_open_orders_max integer DEFAULT NULL, p_orders_per_minute_max integer DEFAULT NULL,
    p_daily_loss_max numeric DEFAULT NULL, p_leverage_max numeric DEFAULT NULL,
    p_request_id text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before app.risk_limits;
    v_after app.risk_limits;
    v_limit record;
BEGIN
    PERFORM app.sp_lock_account(p_account_id);
    SELECT l.* INTO v_before FROM app.risk_limits AS l WHERE l.account_id = p_account_id;
    FOR v_limit IN
        SELECT x.name, x.asked
        FROM (
            VALUES
            ('order_quantity_max', p_order_quantity_max, v_before.order_quantity_max),
            ('order_notional_max', p_order_notional_max, v_before.order_notional_max),
            ('price_collar', p_price_collar, v_before.price_collar),
            ('position_quantity_max', p_position_quantity_max, 0),
            ('open_orders_max', p_open_orders_max, 0),
            ('orders_per_minute_max', p_orders_per_minute_max, 0),
            ('daily_loss_max', p_daily_loss_max, 0),
            ('leverage_max', p_leverage_max, 0)
        ) AS x (name, asked, known)
        WHERE x.asked IS NOT NULL OR x.known IS NULL
    LOOP
        PERFORM app.sp_require_number(v_limit.asked, v_limit.name);
    END LOOP;
    IF p_price_collar >= 1 THEN
        RAISE EXCEPTION 'a collar is a fraction below 1'
            USING ERRCODE = 'IN422', DETAIL = 'price_collar_invalid';
    END IF;
    IF p_leverage_max > 100 THEN
        RAISE EXCEPTION 'a leverage is at most 100'
            USING ERRCODE = 'IN422', DETAIL = 'leverage_max_invalid';
    END IF;

    INSERT INTO app.risk_limits (
        account_id, order_quantity_max, order_notional_max, price_collar
    )
    SELECT p_account_id, p_order_quantity_max, p_order_notional_max, p_price_collar
    WHERE v_before.account_id IS NULL;
    UPDATE app.risk_limits AS l
    SET order_quantity_max = coalesce(p_order_quantity_max, l.order_quantity_max),
        order_notional_max = coalesce(p_order_notional_max, l.order_notional_max),
        price_collar = coalesce(p_price_collar, l.price_collar),
        position_quantity_max = coalesce(p_position_quantity_max, l.position_quantity_max),
        open_orders_max = coalesce(p_open_orders_max, l.open_orders_max),
        orders_per_minute_max = coalesce(p_orders_per_minute_max, l.orders_per_minute_max),
        daily_loss_max = coalesce(p_daily_loss_max, l.daily_loss_max),
        leverage_max = coalesce(p_leverage_max, l.leverage_max)
    WHERE l.account_id = p_account_id
    RETURNING l.* INTO v_after;
    IF to_jsonb(v_after) = to_jsonb(v_before) THEN
        RETURN;
    END IF;
    UPDATE app.risk_limits AS l SET updated_at = clock_timestamp()
    WHERE l.account_id = p_account_id;
    PERFORM app.sp_audit_append(
        p_account_id, p_actor, 'risk_limits.set',
        (
            SELECT jsonb_object_agg(x.key, x.value)
            FROM jsonb_each_text(to_jsonb(v_after) - 'account_id' - 'updated_at') AS x
        ) || jsonb_strip_nulls(jsonb_build_object('request_id', p_request_id))
    );
END
$$;
