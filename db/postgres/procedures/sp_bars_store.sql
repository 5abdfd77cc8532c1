-- sp_bars_store(actor, source, symbols, resolutions, starts, opens, highs, lows, closes, volumes,
--     original dates)
--     -> inserted, replaced, unchanged, symbols we do not know, first bad row, what is wrong
-- Writes bars, each once. One that is there in the same words is left alone; one that differs is
-- replaced when the same source or a roll-up wrote it, and is a fault when another source did.
-- Nothing is written when a row is bad: then `bad_row` counts from 0. Rows of unknown symbols are
-- left out. What changed is audited on stream 0, which is locked no longer than that takes.
-- Writers of bars go one after another, so that what was looked at is still so when it is written.
-- IN422 source_invalid. Internal: sp_bars_load, sp_bars_put. Test: test_api_bars.py

CREATE OR REPLACE FUNCTION app.sp_bars_store(
    p_actor text, p_source text, p_symbols text [], p_resolutions text [],
    p_bar_ats timestamptz [], p_opens numeric [], p_highs numeric [], p_lows numeric [],
    p_closes numeric [], p_volumes numeric [], p_original_dates date []
)
RETURNS TABLE (
    inserted integer, replaced integer, unchanged integer, unknown_symbols text [],
    bad_row integer, fault text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_known integer;
    v_existing integer;
    v_written integer;
    v_from timestamptz;
    v_to timestamptz;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_source, '^[a-z]{1,20}$', 'source');
    IF p_source = 'rollup' THEN
        RAISE EXCEPTION 'rollup is no source' USING ERRCODE = 'IN422', DETAIL = 'source_invalid';
    END IF;
    LOCK TABLE market.bars IN SHARE UPDATE EXCLUSIVE MODE;

    WITH judged AS (
        SELECT r.position, r.symbol, r.bar_at, i.instrument_id, b.source, CASE
            WHEN num_nulls(
                r.symbol, r.resolution, r.bar_at, r.open, r.high, r.low, r.close, r.volume
            ) > 0 THEN 'missing'
            WHEN r.resolution NOT IN ('1d', '1h', '1m') THEN 'resolution_invalid'
            WHEN r.bar_at < '1900-01-01 00:00+00' OR r.bar_at > v_now + interval '1 day'
                THEN 'bar_at_out_of_range'
            WHEN r.bar_at <> date_bin(
                market.bar_width(r.resolution), r.bar_at, '2000-01-01 00:00+00'
            ) THEN 'bar_at_off_grid'
            WHEN NOT (r.low > 0 AND r.volume >= 0 AND greatest(r.high, r.volume) < 1e12)
                OR greatest(
                    scale(trim_scale(r.open)), scale(trim_scale(r.high)), scale(trim_scale(r.low)),
                    scale(trim_scale(r.close)), scale(trim_scale(r.volume))
                ) > 8 THEN 'number_invalid'
            WHEN r.low > least(r.open, r.close) OR r.high < greatest(r.open, r.close)
                THEN 'high_low_invalid'
            WHEN row_number() OVER (
                PARTITION BY r.symbol, r.resolution, r.bar_at ORDER BY r.position
            ) > 1 THEN 'duplicate_key'
            WHEN b.source NOT IN (p_source, 'rollup')
                AND (b.open, b.high, b.low, b.close, b.volume)
                <> (r.open, r.high, r.low, r.close, r.volume) THEN 'other_source'
        END AS fault
        FROM unnest(
            p_symbols, p_resolutions, p_bar_ats, p_opens, p_highs, p_lows, p_closes, p_volumes
        ) WITH ORDINALITY AS r (
            symbol, resolution, bar_at, open, high, low, close, volume, position
        )
        LEFT JOIN app.instruments AS i ON i.symbol = r.symbol
        LEFT JOIN market.bars AS b
            ON b.instrument_id = i.instrument_id AND b.resolution = r.resolution
            AND b.bar_at = r.bar_at
    )
    SELECT
        count(j.instrument_id), count(j.source), min(j.bar_at), max(j.bar_at),
        array_agg(DISTINCT j.symbol) FILTER (WHERE j.instrument_id IS NULL),
        min(j.position) FILTER (WHERE j.fault IS NOT NULL) - 1,
        (array_agg(j.fault ORDER BY j.position) FILTER (WHERE j.fault IS NOT NULL))[1]
    INTO v_known, v_existing, v_from, v_to, unknown_symbols, bad_row, fault
    FROM judged AS j;
    unknown_symbols := coalesce(unknown_symbols, '{}');
    IF bad_row IS NOT NULL OR v_known = 0 THEN
        inserted := 0; replaced := 0; unchanged := 0;
        RETURN NEXT;
        RETURN;
    END IF;

    PERFORM market.ensure_partitions(
        'market.bars', 'bar_at', v_from, v_to + interval '1 us', interval '3650 days'
    );
    INSERT INTO market.bars AS t (
        instrument_id, resolution, bar_at, open, high, low, close, volume, source, original_date
    )
    SELECT
        i.instrument_id, r.resolution, r.bar_at, trim_scale(r.open), trim_scale(r.high),
        trim_scale(r.low), trim_scale(r.close), trim_scale(r.volume), p_source, r.original_date
    FROM unnest(
        p_symbols, p_resolutions, p_bar_ats, p_opens, p_highs, p_lows, p_closes, p_volumes,
        p_original_dates
    ) AS r (symbol, resolution, bar_at, open, high, low, close, volume, original_date)
    JOIN app.instruments AS i ON i.symbol = r.symbol
    ON CONFLICT (instrument_id, resolution, bar_at) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, source = excluded.source, original_date = excluded.original_date
    WHERE t.source IN (p_source, 'rollup')
        AND (t.open, t.high, t.low, t.close, t.volume, t.source, t.original_date)
        IS DISTINCT FROM (
            excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume,
            excluded.source, excluded.original_date
        );
    GET DIAGNOSTICS v_written = ROW_COUNT;
    inserted := v_known - v_existing;
    replaced := v_written - inserted;
    unchanged := v_existing - replaced;
    IF v_written > 0 THEN
        PERFORM app.sp_audit_append(0, p_actor, 'bars.put', jsonb_build_object(
            'source', p_source, 'bars', v_written, 'from', v_from, 'to', v_to
        ));
    END IF;
    RETURN NEXT;
END
$$;
