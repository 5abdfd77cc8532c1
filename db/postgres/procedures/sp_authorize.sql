-- sp_authorize(user, session, scope) -> role
-- Says who is calling, from what is committed now: unknown and disabled users and revoked sessions
-- are refused, so that a revocation binds the very next write. A service token passes where a scope
-- is named and it has that scope.
-- SQLSTATE IN401 user_unknown, user_disabled, session_revoked and those of sp_token_fault; IN403
-- scope_not_allowed. Called by the procedures of the API.
-- Test: test_sp_place_order.py

-- An earlier form, told apart by its arguments, would stay beside this one.
DROP FUNCTION IF EXISTS app.sp_authorize(uuid, text);

CREATE OR REPLACE FUNCTION app.sp_authorize(
    p_user_id uuid, p_session text, p_scope text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_role text;
    v_disabled boolean;
    v_revoked boolean;
    v_fault text;
BEGIN
    SELECT
        u.role,
        u.disabled,
        EXISTS (SELECT FROM security.revoked_sessions AS r WHERE r.session_handle = p_session)
    INTO v_role, v_disabled, v_revoked
    FROM app.users AS u
    WHERE u.user_id = p_user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN401', DETAIL = 'user_unknown', MESSAGE = 'this user is not known';
    END IF;
    IF v_disabled THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN401', DETAIL = 'user_disabled', MESSAGE = 'this user is disabled';
    END IF;
    IF v_revoked OR p_session IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN401', DETAIL = 'session_revoked', MESSAGE = 'this session is over';
    END IF;
    IF starts_with(p_session, 'token:') THEN
        v_fault := app.sp_token_fault(p_user_id, p_session, p_scope);
        IF v_fault IS NOT NULL THEN
            PERFORM app.sp_refuse(v_fault);
        END IF;
    END IF;
    RETURN v_role;
END
$$;
