-- sp_bars_put(source, bars) -> bars written or changed
-- sp_bars_store for the seed. Each bar is {symbol, resolution, bar_at, open, high, low, close,
-- volume, original_date?}, numbers as strings.
-- IN422 source_invalid, bars_invalid, instrument_not_found. Callers: app_migrate.

CREATE OR REPLACE FUNCTION app.sp_bars_put(p_source text, p_bars jsonb) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_stored record;
BEGIN
    IF jsonb_typeof(p_bars) IS DISTINCT FROM 'array' OR jsonb_array_length(p_bars) > 20000 THEN
        RAISE EXCEPTION 'not a list of at most 20,000 bars'
            USING ERRCODE = 'IN422', DETAIL = 'bars_invalid';
    END IF;
    SELECT s.* INTO v_stored
    FROM (
        SELECT
            array_agg(b.symbol ORDER BY e.position) AS symbols,
            array_agg(b.resolution ORDER BY e.position) AS resolutions,
            array_agg(b.bar_at ORDER BY e.position) AS bar_ats,
            array_agg(b.open ORDER BY e.position) AS opens,
            array_agg(b.high ORDER BY e.position) AS highs,
            array_agg(b.low ORDER BY e.position) AS lows,
            array_agg(b.close ORDER BY e.position) AS closes,
            array_agg(b.volume ORDER BY e.position) AS volumes,
            array_agg(b.original_date ORDER BY e.position) AS original_dates
        FROM jsonb_array_elements(p_bars) WITH ORDINALITY AS e (bar, position)
        CROSS JOIN LATERAL jsonb_to_record(e.bar) AS b (
            symbol text, resolution text, bar_at timestamptz, open numeric, high numeric,
            low numeric, close numeric, volume numeric, original_date date
        )
    ) AS a
    CROSS JOIN LATERAL app.sp_bars_store(
        'system:' || p_source, p_source, a.symbols, a.resolutions, a.bar_ats, a.opens, a.highs,
        a.lows, a.closes, a.volumes, a.original_dates
    ) AS s;
    IF v_stored.bad_row IS NOT NULL THEN
        RAISE EXCEPTION 'bar %: %', v_stored.bad_row, v_stored.fault
            USING ERRCODE = 'IN422', DETAIL = 'bars_invalid';
    END IF;
    IF v_stored.unknown_symbols <> '{}' THEN
        RAISE EXCEPTION 'no instrument %', v_stored.unknown_symbols[1]
            USING ERRCODE = 'IN422', DETAIL = 'instrument_not_found';
    END IF;
    RETURN v_stored.inserted + v_stored.replaced;
END
$$;
