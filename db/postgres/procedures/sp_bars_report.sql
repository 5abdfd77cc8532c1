-- sp_bars_report(symbol, resolution, session opens, session closes) -> {expected, present, missing,
--     duplicates}
-- Compares the bars of an instrument with those that the sessions should have. `missing` are the
-- first 1,000 gaps, each with its first and last bar; `duplicates` the first 1,000 slots in which a
-- source has more than one bar, which only a bar off the grid can bring about.
-- IN422 instrument_not_found, resolution_invalid, sessions_invalid. Callers: app_write.
-- Test: test_bars_report.py

CREATE OR REPLACE FUNCTION app.sp_bars_report(
    p_symbol text, p_resolution text, p_opens timestamptz [], p_closes timestamptz []
)
RETURNS jsonb
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_origin timestamptz := '2000-01-01 00:00+00';
    v_width interval := market.bar_width(p_resolution);
    v_instrument_id integer;
    v_report jsonb;
    v_duplicates jsonb;
BEGIN
    SELECT i.instrument_id INTO v_instrument_id FROM app.instruments AS i WHERE i.symbol = p_symbol;
    IF v_instrument_id IS NULL THEN
        RAISE EXCEPTION 'no instrument' USING ERRCODE = 'IN422', DETAIL = 'instrument_not_found';
    END IF;
    IF v_width IS NULL THEN
        RAISE EXCEPTION 'no resolution' USING ERRCODE = 'IN422', DETAIL = 'resolution_invalid';
    END IF;
    IF cardinality(p_opens) IS DISTINCT FROM cardinality(p_closes)
        OR cardinality(p_opens) > 20000
    THEN
        RAISE EXCEPTION 'sessions without an end, or too many'
            USING ERRCODE = 'IN422', DETAIL = 'sessions_invalid';
    END IF;
    WITH expected AS (
        SELECT e.bar_at, row_number() OVER (ORDER BY e.bar_at) AS number
        FROM unnest(p_opens, p_closes) AS s (open_at, close_at)
        CROSS JOIN LATERAL generate_series(
            date_bin(v_width, s.open_at, v_origin), s.close_at - interval '1 us', v_width
        ) AS e (bar_at)
    ),
    missing AS (
        SELECT e.bar_at, e.number - row_number() OVER (ORDER BY e.bar_at) AS gap
        FROM expected AS e
        WHERE NOT EXISTS (
            SELECT FROM market.bars AS b
            WHERE b.instrument_id = v_instrument_id AND b.resolution = p_resolution
                AND b.bar_at = e.bar_at
        )
    ),
    gaps AS (
        SELECT min(m.bar_at) AS first_at, max(m.bar_at) AS last_at, count(*) AS bars
        FROM missing AS m GROUP BY m.gap ORDER BY 1 LIMIT 1000
    )
    SELECT jsonb_build_object(
        'expected', (SELECT count(*) FROM expected),
        'present', (SELECT count(*) FROM expected) - (SELECT count(*) FROM missing),
        'missing', coalesce((SELECT jsonb_agg(to_jsonb(g) ORDER BY g.first_at) FROM gaps AS g), '[]')
    ) INTO v_report;
    SELECT jsonb_agg(to_jsonb(d) ORDER BY d.bar_at, d.source) INTO v_duplicates
    FROM (
        SELECT b.source, date_bin(v_width, b.bar_at, v_origin) AS bar_at, count(*) AS bars
        FROM market.bars AS b
        WHERE b.instrument_id = v_instrument_id AND b.resolution = p_resolution
            AND b.bar_at >= date_bin(v_width, p_opens[1], v_origin)
            AND b.bar_at < p_closes[cardinality(p_closes)]
        GROUP BY 1, 2
        HAVING count(*) > 1
        ORDER BY 2, 1
        LIMIT 1000
    ) AS d;
    RETURN v_report || jsonb_build_object('duplicates', coalesce(v_duplicates, '[]'));
END
$$;
