-- sp_bars_load(user, session, request id, source, symbols, resolutions, starts, opens, highs, lows,
--     closes, volumes)
--     -> inserted, replaced, unchanged, symbols we do not know, first bad row, what is wrong
-- sp_bars_store for administrators, and for our own worker, which is no user: then user is null.
-- IN401 as sp_authorize; IN403 role_not_allowed; IN422 request_id_invalid, source_invalid.
-- Called by app_write. Test: test_api_bars.py

CREATE OR REPLACE FUNCTION app.sp_bars_load(
    p_user_id uuid, p_session text, p_request_id text, p_source text, p_symbols text [],
    p_resolutions text [], p_bar_ats timestamptz [], p_opens numeric [], p_highs numeric [],
    p_lows numeric [], p_closes numeric [], p_volumes numeric []
)
RETURNS TABLE (
    inserted integer, replaced integer, unchanged integer, unknown_symbols text [],
    bad_row integer, fault text
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_actor text := 'system:worker';
BEGIN
    IF p_user_id IS NOT NULL THEN
        v_actor := app.sp_authorize_admin(
            p_user_id, p_session, p_request_id, 'data:write'
        );
    END IF;
    RETURN QUERY SELECT s.* FROM app.sp_bars_store(
        v_actor, p_source, p_symbols, p_resolutions, p_bar_ats, p_opens, p_highs, p_lows,
        p_closes, p_volumes, NULL
    ) AS s;
END
$$;
