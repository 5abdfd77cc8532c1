-- sp_authorize_replace(user, session, order) -> account
-- Passes who may trade on the order's account; admins too only as members with that right. An order
-- of an account of others does not exist for the caller.
-- SQLSTATE IN401 as sp_authorize; IN403 role_not_allowed, not_allowed_to_trade; IN404
-- order_not_found; IN422 order_id_invalid. Internal: sp_replace_order.
-- Test: test_sp_replace_order.py

CREATE OR REPLACE FUNCTION app.sp_authorize_replace(
    p_user_id uuid, p_session text, p_order_id bigint
)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_account_id bigint := (
        SELECT o.account_id FROM app.orders AS o WHERE o.order_id = p_order_id
    );
    v_fault text := app.sp_trade_fault(p_user_id, p_session, coalesce(v_account_id, 0));
BEGIN
    IF v_fault = 'account_not_found' THEN
        v_fault := CASE
            WHEN p_order_id IS NULL THEN 'order_id_invalid'
            ELSE 'order_not_found'
        END;
    END IF;
    IF v_fault IS NOT NULL THEN
        PERFORM app.sp_refuse(v_fault);
    END IF;
    RETURN v_account_id;
END
$$;
