-- sp_quotes_store(source, symbols, prices, times, resets)
--     -> marks moved, inserted, unchanged, symbols we do not know, first bad row, what is wrong
-- Moves the marks, and keeps the first quote of each instrument and 5 s in market.quotes. A mark
-- never goes back in source time unless a quote says `reset` (a replay begins anew), and the same
-- quote again leaves it as it was, so that a repetition makes no old price look new. A time in the
-- future counts as now, or it would block what follows.
-- Inserted are the quotes that were kept; unchanged those whose 5 s have one already.
-- Nothing is written when a row is bad: then `bad_row` counts from 0. Rows of unknown symbols are
-- left out. IN422 source_invalid. Internal: sp_quotes_load, sp_record_quotes.
-- Test: test_market_data.py

CREATE OR REPLACE FUNCTION app.sp_quotes_store(
    p_source text, p_symbols text [], p_prices numeric [], p_ats timestamptz [], p_resets boolean []
)
RETURNS TABLE (
    marks integer, inserted integer, unchanged integer, unknown_symbols text [],
    bad_row integer, fault text
)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_known integer;
BEGIN
    IF app.sp_quote_stale_after(p_source) IS NULL THEN
        RAISE EXCEPTION 'unknown source' USING ERRCODE = 'IN422', DETAIL = 'source_invalid';
    END IF;
    WITH judged AS (
        SELECT r.position, r.symbol, i.instrument_id, CASE
            WHEN num_nulls(r.symbol, r.price, r.at) > 0 THEN 'missing'
            WHEN r.at < '1900-01-01 00:00+00' OR NOT isfinite(r.at) THEN 'at_out_of_range'
            WHEN NOT (r.price > 0 AND r.price < 1e12) OR scale(trim_scale(r.price)) > 8
                THEN 'number_invalid'
        END AS fault
        FROM unnest(p_symbols, p_prices, p_ats) WITH ORDINALITY AS r (symbol, price, at, position)
        LEFT JOIN app.instruments AS i ON i.symbol = r.symbol
    )
    SELECT
        count(j.instrument_id),
        array_agg(DISTINCT j.symbol) FILTER (WHERE j.instrument_id IS NULL),
        min(j.position) FILTER (WHERE j.fault IS NOT NULL) - 1,
        (array_agg(j.fault ORDER BY j.position) FILTER (WHERE j.fault IS NOT NULL))[1]
    INTO v_known, unknown_symbols, bad_row, fault
    FROM judged AS j;
    unknown_symbols := coalesce(unknown_symbols, '{}');
    marks := 0; inserted := 0; unchanged := 0;
    IF bad_row IS NOT NULL OR v_known = 0 THEN
        RETURN NEXT;
        RETURN;
    END IF;

    -- One row per instrument, in one order everywhere, so that two writers never lock crosswise.
    WITH quotes AS MATERIALIZED (
        SELECT
            i.instrument_id, trim_scale(r.price) AS price, least(r.at, v_now) AS source_at,
            coalesce(r.reset, FALSE) AS reset, r.position
        FROM unnest(p_symbols, p_prices, p_ats, p_resets) WITH ORDINALITY AS r (
            symbol, price, at, reset, position
        )
        JOIN app.instruments AS i ON i.symbol = r.symbol
    ),
    newest AS (
        SELECT DISTINCT ON (q.instrument_id) q.*
        FROM quotes AS q
        ORDER BY q.instrument_id, q.source_at DESC, q.position DESC
    ),
    marked AS (
        INSERT INTO market.last_prices AS p (
            instrument_id, price, source, source_at, received_at
        )
        SELECT n.instrument_id, n.price, p_source, n.source_at, v_now
        FROM newest AS n
        ORDER BY n.instrument_id
        ON CONFLICT (instrument_id) DO UPDATE
        SET price = excluded.price, source = excluded.source, source_at = excluded.source_at,
            received_at = excluded.received_at
        WHERE excluded.source_at > p.source_at
            OR (
                excluded.source_at = p.source_at
                AND (excluded.price, excluded.source) <> (p.price, p.source)
            )
            OR EXISTS (
                SELECT FROM quotes AS r WHERE r.instrument_id = p.instrument_id AND r.reset
            )
        RETURNING p.instrument_id
    ),
    sampled AS (
        INSERT INTO market.quotes (instrument_id, quote_at, price, source)
        SELECT DISTINCT ON (q.instrument_id, s.quote_at)
            q.instrument_id, s.quote_at, q.price, p_source
        FROM quotes AS q
        CROSS JOIN LATERAL date_bin(
            interval '5 s', q.source_at, '2000-01-01 00:00+00'
        ) AS s (quote_at)
        WHERE q.source_at > v_now - interval '1 day'
        ORDER BY q.instrument_id, s.quote_at, q.source_at, q.position
        ON CONFLICT (instrument_id, quote_at) DO NOTHING
        RETURNING instrument_id
    )
    SELECT (SELECT count(*) FROM marked), (SELECT count(*) FROM sampled) INTO marks, inserted;
    unchanged := v_known - inserted;
    RETURN NEXT;
END
$$;
