-- sp_bars_read(user, session, symbol, resolution, from, until, limit) -> bars, oldest first
-- Of at most 10,000 bars from a moment on and before another; prices belong to no account, so
-- whoever is signed in may read them. Ask for one more than is shown to know where it goes on.
-- IN401 as sp_authorize; IN403 scope_not_allowed; IN422 instrument_not_found, resolution_invalid,
-- span_invalid, limit_invalid. Called by app_write. Test: test_api_bars_read.py

CREATE OR REPLACE FUNCTION app.sp_bars_read(
    p_user_id uuid, p_session text, p_symbol text, p_resolution text, p_from timestamptz,
    p_until timestamptz, p_limit integer
)
RETURNS TABLE (
    bar_at timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric,
    source text, original_date date
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_instrument_id integer;
BEGIN
    PERFORM app.sp_authorize(p_user_id, p_session, 'data:read');
    SELECT i.instrument_id INTO v_instrument_id FROM app.instruments AS i WHERE i.symbol = p_symbol;
    IF v_instrument_id IS NULL THEN
        RAISE EXCEPTION 'no instrument' USING ERRCODE = 'IN422', DETAIL = 'instrument_not_found';
    END IF;
    IF market.bar_width(p_resolution) IS NULL THEN
        RAISE EXCEPTION 'no resolution' USING ERRCODE = 'IN422', DETAIL = 'resolution_invalid';
    END IF;
    IF NOT coalesce(isfinite(p_from) AND isfinite(p_until) AND p_from <= p_until, FALSE) THEN
        RAISE EXCEPTION 'no span' USING ERRCODE = 'IN422', DETAIL = 'span_invalid';
    END IF;
    IF NOT coalesce(p_limit BETWEEN 1 AND 10001, FALSE) THEN
        RAISE EXCEPTION 'no limit' USING ERRCODE = 'IN422', DETAIL = 'limit_invalid';
    END IF;
    RETURN QUERY
    SELECT b.bar_at, b.open, b.high, b.low, b.close, b.volume, b.source, b.original_date
    FROM market.bars AS b
    WHERE b.instrument_id = v_instrument_id
        AND b.resolution = p_resolution
        AND b.bar_at >= p_from
        AND b.bar_at < p_until
    ORDER BY b.bar_at
    LIMIT p_limit;
END
$$;
