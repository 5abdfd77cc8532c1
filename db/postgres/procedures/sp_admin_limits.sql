-- sp_admin_limits(user, session, request id, account, order quantity max, order notional max, price
--     collar, position quantity max, open orders max, orders per minute max, daily loss max,
--     leverage max) -> nothing
-- sp_risk_limits_set for administrators of the API; their authority is looked at
-- before and after the wait for the lock. SQLSTATE as there; IN401 as sp_authorize; IN403
-- role_not_allowed; IN422 request_id_invalid. Called by app_write. Test: test_sp_admin.py

CREATE OR REPLACE FUNCTION app.sp_admin_limits(
    p_user_id uuid, p_session text, p_request_id text, p_account_id bigint,
    p_order_quantity_max numeric, p_order_notional_max numeric, p_price_collar numeric,
    p_position_quantity_max numeric, p_open_orders_max integer, p_orders_per_minute_max integer,
    p_daily_loss_max numeric, p_leverage_max numeric
)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
BEGIN
    PERFORM app.sp_risk_limits_set(
        v_actor, p_account_id, p_order_quantity_max, p_order_notional_max, p_price_collar,
        p_position_quantity_max, p_open_orders_max, p_orders_per_minute_max, p_daily_loss_max,
        p_leverage_max, p_request_id
    );
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
END
$$;
