-- sp_risk_limits_set(actor, account, quantity, notional, collar)
-- Sets what a single order may be; an account without limits may not trade. Repeating it changes
-- nothing; audited on the account's stream when something changed.
-- IN404 account_not_found; IN422 order_quantity_max_invalid, order_notional_max_invalid,
-- price_collar_invalid. Callers: app_migrate.

CREATE OR REPLACE FUNCTION app.sp_risk_limits_set(
    p_actor text, p_account_id bigint, p_quantity_max numeric, p_notional_max numeric,
    p_price_collar numeric
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.sp_require_number(p_quantity_max, 'order_quantity_max');
    PERFORM app.sp_require_number(p_notional_max, 'order_notional_max');
    PERFORM app.sp_require_number(p_price_collar, 'price_collar');
    IF p_price_collar >= 1 THEN
        RAISE EXCEPTION 'a collar is a fraction below 1'
            USING ERRCODE = 'IN422', DETAIL = 'price_collar_invalid';
    END IF;

    PERFORM app.sp_lock_account(p_account_id);
    INSERT INTO app.risk_limits AS r (
        account_id, order_quantity_max, order_notional_max, price_collar
    ) VALUES (p_account_id, p_quantity_max, p_notional_max, p_price_collar)
    ON CONFLICT (account_id) DO UPDATE
    SET order_quantity_max = excluded.order_quantity_max,
        order_notional_max = excluded.order_notional_max,
        price_collar = excluded.price_collar,
        updated_at = clock_timestamp()
    WHERE (r.order_quantity_max, r.order_notional_max, r.price_collar)
        <> (excluded.order_quantity_max, excluded.order_notional_max, excluded.price_collar);
    IF FOUND THEN
        PERFORM app.sp_audit_append(p_account_id, p_actor, 'risk_limits.set', jsonb_build_object(
            'order_quantity_max', p_quantity_max::text,
            'order_notional_max', p_notional_max::text,
            'price_collar', p_price_collar::text
        ));
    END IF;
END
$$;
