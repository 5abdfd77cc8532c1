-- sp_order_status(user, session, client order id) -> app.order_result
-- An order as it is now, for the members of its account and for admins. Writes nothing.
-- SQLSTATE IN401 as sp_authorize; IN404 order_not_found, also for an account of others; IN422
-- client_order_id_invalid. Called by app_write. Test: test_sp_cancel_order.py

CREATE OR REPLACE FUNCTION app.sp_order_status(
    p_user_id uuid, p_session text, p_client_order_id text
)
RETURNS app.order_result
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role text := app.sp_authorize(p_user_id, p_session, 'orders:read');
    v_order app.orders;
BEGIN
    PERFORM app.sp_require_text(p_client_order_id, '^[A-Za-z0-9_-]{1,36}$', 'client_order_id');
    SELECT o.* INTO v_order
    FROM app.orders AS o
    WHERE o.client_order_id = p_client_order_id
        AND app.sp_session_covers(p_session, o.account_id)
        AND (
            v_role = 'admin'
            OR EXISTS (
                SELECT FROM app.account_members AS m
                WHERE m.account_id = o.account_id AND m.user_id = p_user_id
            )
        );
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN404', DETAIL = 'order_not_found', MESSAGE = 'there is no such order';
    END IF;
    RETURN app.sp_order_result(v_order, FALSE);
END
$$;
