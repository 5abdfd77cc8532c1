-- sp_admin_audit_verify(user, session, stream, from, rows max) -> as sp_audit_verify
-- For administrators of the API, whose authority is looked at for each slice. Writes nothing.
-- SQLSTATE IN401 as sp_authorize; IN403 role_not_allowed. Called by app_write.
-- Test: test_api_audit.py

CREATE OR REPLACE FUNCTION app.sp_admin_audit_verify(
    p_user_id uuid, p_session text, p_stream_id bigint, p_from_seq bigint, p_rows_max bigint
)
RETURNS TABLE (checked bigint, broken_seq bigint, why text, next_seq bigint)
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
    RETURN QUERY
    SELECT v.checked, v.broken_seq, v.why, v.next_seq
    FROM app.sp_audit_verify(p_stream_id, p_from_seq, p_rows_max) AS v;
END
$$;
