-- sp_bars_put(source, bars) -> bars written or changed
-- Each bar is {symbol, resolution, bar_at, open, high, low, close, volume, original_date?}, numbers
-- as strings. A bar that is there already in the same words is left alone. Audited on stream 0.
-- IN422 source_invalid, bars_invalid, instrument_not_found. Callers: app_migrate.

CREATE OR REPLACE FUNCTION app.sp_bars_put(p_source text, p_bars jsonb) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_symbol text;
    v_from timestamptz;
    v_to timestamptz;
    v_written integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_source, '^[a-z]{1,20}$', 'source');
    IF jsonb_typeof(p_bars) IS DISTINCT FROM 'array' OR jsonb_array_length(p_bars) > 20000 THEN
        RAISE EXCEPTION 'not a list of at most 20,000 bars'
            USING ERRCODE = 'IN422', DETAIL = 'bars_invalid';
    END IF;
    SELECT b.bar ->> 'symbol' INTO v_symbol
    FROM jsonb_array_elements(p_bars) AS b (bar)
    WHERE NOT EXISTS (SELECT FROM app.instruments AS i WHERE i.symbol = b.bar ->> 'symbol')
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'no instrument %', v_symbol
            USING ERRCODE = 'IN422', DETAIL = 'instrument_not_found';
    END IF;

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    SELECT min((b.bar ->> 'bar_at')::timestamptz), max((b.bar ->> 'bar_at')::timestamptz)
    INTO v_from, v_to
    FROM jsonb_array_elements(p_bars) AS b (bar);
    PERFORM market.ensure_partitions(
        'market.bars', 'bar_at', v_from, v_to + interval '1 us', interval '3650 days'
    );
    INSERT INTO market.bars AS t (
        instrument_id, resolution, bar_at, open, high, low, close, volume, source, original_date
    )
    SELECT DISTINCT ON (i.instrument_id, b.bar ->> 'resolution', (b.bar ->> 'bar_at')::timestamptz)
        i.instrument_id,
        b.bar ->> 'resolution',
        (b.bar ->> 'bar_at')::timestamptz,
        (b.bar ->> 'open')::numeric,
        (b.bar ->> 'high')::numeric,
        (b.bar ->> 'low')::numeric,
        (b.bar ->> 'close')::numeric,
        (b.bar ->> 'volume')::numeric,
        p_source,
        (b.bar ->> 'original_date')::date
    FROM jsonb_array_elements(p_bars) AS b (bar)
    JOIN app.instruments AS i ON i.symbol = b.bar ->> 'symbol'
    ON CONFLICT (instrument_id, resolution, bar_at) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, source = excluded.source, original_date = excluded.original_date
    WHERE (t.open, t.high, t.low, t.close, t.volume, t.source, t.original_date)
        IS DISTINCT FROM (
            excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume,
            excluded.source, excluded.original_date
        );
    GET DIAGNOSTICS v_written = ROW_COUNT;
    IF v_written > 0 THEN
        PERFORM app.sp_audit_append(0, 'system:' || p_source, 'bars.put', jsonb_build_object(
            'source', p_source, 'bars', v_written, 'from', v_from, 'to', v_to
        ));
    END IF;
    RETURN v_written;
END
$$;
