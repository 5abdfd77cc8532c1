-- sp_admin_strategy(user, session, request id, account, name) -> strategy id
-- sp_strategy_upsert for administrators of the API; their authority is looked at
-- before and after the wait for the lock. SQLSTATE as there; IN401 as sp_authorize; IN403
-- role_not_allowed; IN422 request_id_invalid. Called by app_write. Test: test_sp_admin.py

CREATE OR REPLACE FUNCTION app.sp_admin_strategy(
    p_user_id uuid, p_session text, p_request_id text, p_account_id bigint, p_name text
)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    v_result bigint;
BEGIN
    v_result := app.sp_strategy_upsert(
        v_actor, p_account_id, p_name, p_request_id
    );
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    RETURN v_result;
END
$$;
