-- sp_authorize_cancel(user, session, order) -> account
-- Passes admins everywhere and traders where they may trade; an order of an account of others does
-- not exist for the caller.
-- SQLSTATE IN401 as sp_authorize; IN403 role_not_allowed, not_allowed_to_trade; IN404
-- order_not_found; IN422 order_id_invalid. Internal: sp_cancel_order.
-- Test: test_sp_cancel_order.py

CREATE OR REPLACE FUNCTION app.sp_authorize_cancel(
    p_user_id uuid, p_session text, p_order_id bigint
)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_role text := app.sp_authorize(p_user_id, p_session, 'orders:write');
    v_account_id bigint;
    v_can_trade boolean;
BEGIN
    PERFORM app.sp_require_text(p_order_id::text, '^', 'order_id');
    SELECT o.account_id, m.can_trade INTO v_account_id, v_can_trade
    FROM app.orders AS o
    LEFT JOIN app.account_members AS m
        ON m.account_id = o.account_id AND m.user_id = p_user_id
    WHERE o.order_id = p_order_id AND app.sp_session_covers(p_session, o.account_id);
    IF v_role = 'admin' AND FOUND THEN
        RETURN v_account_id;
    END IF;
    IF v_role NOT IN ('trader', 'admin') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN403', DETAIL = 'role_not_allowed', MESSAGE = 'this role may not trade';
    END IF;
    IF v_can_trade IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN404', DETAIL = 'order_not_found', MESSAGE = 'there is no such order';
    END IF;
    IF NOT v_can_trade THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN403', DETAIL = 'not_allowed_to_trade',
            MESSAGE = 'this member may look at the account but not trade on it';
    END IF;
    RETURN v_account_id;
END
$$;
