-- sp_admin_allow_list(user, session, request id, account, symbols) -> nothing
-- sp_allow_list_set for administrators of the API; their authority is looked at
-- before and after the wait for the lock. SQLSTATE as there; IN401 as sp_authorize; IN403
-- role_not_allowed; IN422 request_id_invalid. Called by app_write. Test: test_sp_admin.py

CREATE OR REPLACE FUNCTION app.sp_admin_allow_list(
    p_user_id uuid, p_session text, p_request_id text, p_account_id bigint, p_symbols text[]
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
    PERFORM app.sp_allow_list_set(
        v_actor, p_account_id, p_symbols, p_request_id
    );
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
END
$$;
