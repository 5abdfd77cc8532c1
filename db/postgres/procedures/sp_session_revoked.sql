-- sp_session_revoked(actor, user, session)
-- Ends a session for every procedure at once; repeating it changes nothing. Audited on stream 0.
-- IN422 session_invalid. Callers: app_write.

CREATE OR REPLACE FUNCTION app.sp_session_revoked(p_actor text, p_user_id uuid, p_session text)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.sp_require_read_committed();
    IF p_session IS NULL OR length(p_session) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION 'not a session handle' USING ERRCODE = 'IN422', DETAIL = 'session_invalid';
    END IF;

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    INSERT INTO security.revoked_sessions (session_handle, user_id)
    VALUES (p_session, p_user_id)
    ON CONFLICT (session_handle) DO NOTHING;
    IF FOUND THEN
        PERFORM app.sp_audit_append(0, p_actor, 'session.revoke', jsonb_build_object(
            'user_id', p_user_id, 'session', p_session
        ));
    END IF;
END
$$;
