-- sp_session_check(user, session) -> user, email, role
-- No row when the user is unknown or disabled, or the session was revoked or is
-- a service token that ended. Callers: app_write.

CREATE OR REPLACE FUNCTION app.sp_session_check(p_user_id uuid, p_session text)
RETURNS TABLE (user_id uuid, email text, role text)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.user_id, u.email, u.role
    FROM app.users AS u
    WHERE u.user_id = p_user_id
      AND NOT u.disabled
      AND p_session IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM security.revoked_sessions AS r WHERE r.session_handle = p_session
      )
      AND CASE
          WHEN starts_with(p_session, 'token:')
              THEN app.sp_token_ended(p_user_id, p_session) IS NULL
          ELSE TRUE
      END
$$;
