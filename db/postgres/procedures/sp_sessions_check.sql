-- sp_sessions_check(handles, users) -> each handle and user, and the user's role while it lives
-- The handle and the user at the same place belong together, as the gate saw them. The role is null
-- when the session was revoked or is a service token, or the user is not known or disabled.
-- At most 10,000 pairs a call: IN422 handles_invalid. Callers: app_write.

-- An earlier form, told apart by its arguments, would stay beside this one.
DROP FUNCTION IF EXISTS app.sp_sessions_check(text []);

CREATE OR REPLACE FUNCTION app.sp_sessions_check(p_handles text [], p_user_ids uuid [])
RETURNS TABLE (session_handle text, user_id uuid, role text)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(p_handles) IS DISTINCT FROM cardinality(p_user_ids)
        OR p_handles IS NULL
        OR cardinality(p_handles) > 10000
    THEN
        RAISE EXCEPTION 'too many sessions, or not a user for each'
            USING ERRCODE = 'IN422', DETAIL = 'handles_invalid';
    END IF;
    RETURN QUERY
    SELECT
        s.handle,
        s.user_id,
        CASE WHEN r.session_handle IS NULL AND NOT u.disabled
            AND NOT starts_with(s.handle, 'token:') THEN u.role END
    FROM (
        SELECT DISTINCT t.handle, t.user_id
        FROM unnest(p_handles, p_user_ids) AS t (handle, user_id)
    ) AS s
    LEFT JOIN app.users AS u ON u.user_id = s.user_id
    LEFT JOIN security.revoked_sessions AS r ON r.session_handle = s.handle;
END
$$;
