-- sp_admin_audit_heads(user, session) -> stream and sequence number of each stream
-- What there is to verify, for administrators of the API. Writes nothing.
-- SQLSTATE IN401 as sp_authorize; IN403 role_not_allowed. Called by app_write.
-- Test: test_api_audit.py

CREATE OR REPLACE FUNCTION app.sp_admin_audit_heads(p_user_id uuid, p_session text)
RETURNS TABLE (stream_id bigint, seq bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF app.sp_authorize(p_user_id, p_session) <> 'admin' THEN
        RAISE EXCEPTION 'this needs the role admin'
            USING ERRCODE = 'IN403', DETAIL = 'role_not_allowed';
    END IF;
    RETURN QUERY SELECT s.stream_id::bigint, s.seq FROM app.streams AS s ORDER BY s.stream_id;
END
$$;
