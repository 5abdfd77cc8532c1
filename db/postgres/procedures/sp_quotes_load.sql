-- sp_quotes_load(user, session, request id, source, symbols, prices, times, resets)
--     -> marks moved, inserted, unchanged, symbols we do not know, first bad row, what is wrong
-- sp_quotes_store for administrators, and for our own worker, which is no user: then user is null.
-- IN401 as sp_authorize; IN403 role_not_allowed; IN422 request_id_invalid, source_invalid.
-- Called by app_write. Test: test_api_quotes.py

CREATE OR REPLACE FUNCTION app.sp_quotes_load(
    p_user_id uuid, p_session text, p_request_id text, p_source text, p_symbols text [],
    p_prices numeric [], p_ats timestamptz [], p_resets boolean []
)
RETURNS TABLE (
    marks integer, inserted integer, unchanged integer, unknown_symbols text [],
    bad_row integer, fault text
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_user_id IS NOT NULL THEN
        PERFORM app.sp_authorize_admin(
            p_user_id, p_session, p_request_id, 'data:write'
        );
    END IF;
    RETURN QUERY SELECT s.* FROM app.sp_quotes_store(
        p_source, p_symbols, p_prices, p_ats, p_resets
    ) AS s;
END
$$;
