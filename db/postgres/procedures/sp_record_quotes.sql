-- sp_record_quotes(source, quotes) -> instruments whose mark was written
-- Each quote is {symbol, price, at, reset?}, price as a string. The mark never goes back in source
-- time unless the quote says `reset` (a replay begins anew); a time in the future counts as now, or
-- it would block what follows. One quote per instrument and 5 s is kept in market.quotes.
-- Unknown symbols are left out. IN422 source_invalid, quotes_invalid, price_invalid.
-- Callers: app_write, app_migrate.

CREATE OR REPLACE FUNCTION app.sp_record_quotes(p_source text, p_quotes jsonb) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_written integer;
BEGIN
    IF p_source IS NULL OR p_source NOT IN ('replay', 'quantconnect', 'ib') THEN
        RAISE EXCEPTION 'unknown source' USING ERRCODE = 'IN422', DETAIL = 'source_invalid';
    END IF;
    IF jsonb_typeof(p_quotes) IS DISTINCT FROM 'array' OR jsonb_array_length(p_quotes) > 1000 THEN
        RAISE EXCEPTION 'not a list of at most 1,000 quotes'
            USING ERRCODE = 'IN422', DETAIL = 'quotes_invalid';
    END IF;
    IF EXISTS (
        SELECT FROM jsonb_array_elements(p_quotes) AS q (quote)
        WHERE (q.quote ->> 'price') !~ '^(0|[1-9][0-9]{0,11})(\.[0-9]{1,8})?$'
           OR (q.quote ->> 'price') !~ '[1-9]'
           OR (q.quote ->> 'price') IS NULL
           OR app.sp_wire_time(q.quote ->> 'at') IS NULL
    ) THEN
        RAISE EXCEPTION 'a quote without a usable price or time'
            USING ERRCODE = 'IN422', DETAIL = 'price_invalid';
    END IF;

    -- One row per instrument, in one order everywhere, so that two writers never lock crosswise.
    WITH quotes AS (
        SELECT DISTINCT ON (i.instrument_id)
            i.instrument_id,
            (q.quote ->> 'price')::numeric AS price,
            least(app.sp_wire_time(q.quote ->> 'at'), v_now) AS source_at,
            (q.quote -> 'reset') IS NOT DISTINCT FROM 'true'::jsonb AS reset
        FROM jsonb_array_elements(p_quotes) WITH ORDINALITY AS q (quote, position)
        JOIN app.instruments AS i ON i.symbol = q.quote ->> 'symbol'
        ORDER BY
            i.instrument_id, least(app.sp_wire_time(q.quote ->> 'at'), v_now) DESC, q.position DESC
    ),
    marked AS (
        INSERT INTO market.last_prices AS p (
            instrument_id, price, source, source_at, received_at
        )
        SELECT n.instrument_id, n.price, p_source, n.source_at, v_now
        FROM quotes AS n
        ORDER BY n.instrument_id
        ON CONFLICT (instrument_id) DO UPDATE
        SET price = excluded.price, source = excluded.source, source_at = excluded.source_at,
            received_at = excluded.received_at
        WHERE excluded.source_at >= p.source_at
           OR EXISTS (
               SELECT FROM quotes AS r WHERE r.instrument_id = p.instrument_id AND r.reset
           )
        RETURNING p.instrument_id
    ),
    sampled AS (
        INSERT INTO market.quotes (instrument_id, quote_at, price, source)
        SELECT
            n.instrument_id,
            date_bin(interval '5 s', n.source_at, '2000-01-01 00:00+00'),
            n.price,
            p_source
        FROM quotes AS n
        WHERE n.source_at > v_now - interval '1 day'
        ON CONFLICT (instrument_id, quote_at) DO NOTHING
    )
    SELECT count(*) INTO v_written FROM marked;
    RETURN v_written;
END
$$;
