-- sp_notify_list(user, session) -> the caller's own channels as objects, by name
-- Without the address, of which only the hint is shown; with what waits and what was given up.
-- Writes nothing. SQLSTATE IN401 as sp_authorize. Called by app_write. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify_list(p_user_id uuid, p_session text)
RETURNS SETOF jsonb
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.sp_authorize(p_user_id, p_session);
    RETURN QUERY
    SELECT app.sp_notify_shown(c) FROM app.notify_channels AS c
    WHERE c.user_id = p_user_id
    ORDER BY c.name;
END
$$;
