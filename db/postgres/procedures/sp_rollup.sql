-- sp_rollup(from, to) -> bars written or changed
-- Makes bars of an hour from those of a minute, then bars of a day from those of an hour, for every
-- whole day of UTC that the span touches. Repeating it changes nothing. A bar that a source
-- delivered stays as it is; one that an earlier roll-up made follows what it is made of.
-- Callers: app_worker, app_migrate. Test: test_bars_report.py

CREATE OR REPLACE FUNCTION app.sp_rollup(p_from timestamptz, p_to timestamptz) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_origin timestamptz := '2000-01-01 00:00+00';
    v_day interval := interval '1 day';
    v_from timestamptz := date_bin(v_day, p_from, v_origin);
    v_to timestamptz := date_bin(v_day, p_to, v_origin) + v_day;
    v_step text [];
    v_changed integer;
    v_written integer := 0;
BEGIN
    PERFORM app.sp_require_read_committed();
    IF p_from > p_to OR num_nulls(p_from, p_to) > 0 THEN
        RAISE EXCEPTION 'no span' USING ERRCODE = 'IN422', DETAIL = 'span_invalid';
    END IF;
    LOCK TABLE market.bars IN SHARE UPDATE EXCLUSIVE MODE;
    FOREACH v_step SLICE 1 IN ARRAY ARRAY[['1m', '1h'], ['1h', '1d']] LOOP
        INSERT INTO market.bars AS t (
            instrument_id, resolution, bar_at, open, high, low, close, volume, source
        )
        SELECT
            b.instrument_id,
            v_step[2],
            date_bin(market.bar_width(v_step[2]), b.bar_at, v_origin),
            (array_agg(b.open ORDER BY b.bar_at))[1],
            max(b.high),
            min(b.low),
            (array_agg(b.close ORDER BY b.bar_at DESC))[1],
            sum(b.volume),
            'rollup'
        FROM market.bars AS b
        WHERE b.resolution = v_step[1] AND b.bar_at >= v_from AND b.bar_at < v_to
        GROUP BY 1, 3
        ON CONFLICT (instrument_id, resolution, bar_at) DO UPDATE
        SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
            volume = excluded.volume
        WHERE t.source = 'rollup'
            AND (t.open, t.high, t.low, t.close, t.volume)
            <> (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume);
        GET DIAGNOSTICS v_changed = ROW_COUNT;
        v_written := v_written + v_changed;
    END LOOP;
    RETURN v_written;
END
$$;
