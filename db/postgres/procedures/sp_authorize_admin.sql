-- sp_authorize_admin(user, session, request id, scope) -> the actor to audit
-- Passes administrators with a living session, and their service tokens where a scope is named.
-- SQLSTATE IN401, IN403 as sp_authorize; IN403 role_not_allowed; IN422 request_id_invalid.
-- Internal: sp_admin_*. Test: test_sp_admin.py

-- An earlier form, told apart by its arguments, would stay beside this one.
DROP FUNCTION IF EXISTS app.sp_authorize_admin(uuid, text, text);

CREATE OR REPLACE FUNCTION app.sp_authorize_admin(
    p_user_id uuid, p_session text, p_request_id text, p_scope text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
    IF app.sp_authorize(p_user_id, p_session, p_scope) <> 'admin' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN403', DETAIL = 'role_not_allowed',
            MESSAGE = 'only an administrator may do this';
    END IF;
    PERFORM app.sp_require_text(p_request_id, '^[A-Za-z0-9_-]{1,64}$', 'request_id');
    RETURN app.sp_actor(p_user_id, p_session);
END
$$;
