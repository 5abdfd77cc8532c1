-- sp_admin_user_rate(user, session, request id, whom, orders per minute max) -> nothing
-- sp_user_rate_set for administrators of the API; their authority is looked at
-- before and after the wait for the lock. SQLSTATE as there; IN401 as sp_authorize; IN403
-- role_not_allowed; IN422 request_id_invalid. Called by app_write. Test: test_sp_admin.py

CREATE OR REPLACE FUNCTION app.sp_admin_user_rate(
    p_user_id uuid, p_session text, p_request_id text, p_member_id uuid,
    p_orders_per_minute_max integer
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
    PERFORM app.sp_user_rate_set(
        v_actor, p_member_id, p_orders_per_minute_max, p_request_id
    );
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
END
$$;
