-- sp_record_quotes(source, quotes) -> instruments whose mark was written
-- sp_quotes_store for a bridge's delivery. Each quote is {symbol, price, at, reset?}, price as a
-- string. Unknown symbols and times before 1900 are left out.
-- IN422 source_invalid, quotes_invalid, price_invalid. Callers: app_write, app_migrate.

CREATE OR REPLACE FUNCTION app.sp_record_quotes(p_source text, p_quotes jsonb) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_marks integer;
BEGIN
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
    SELECT s.marks INTO v_marks
    FROM (
        SELECT
            array_agg(coalesce(q.quote ->> 'symbol', '') ORDER BY q.position) AS symbols,
            array_agg((q.quote ->> 'price')::numeric ORDER BY q.position) AS prices,
            array_agg(app.sp_wire_time(q.quote ->> 'at') ORDER BY q.position) AS ats,
            array_agg(
                (q.quote -> 'reset') IS NOT DISTINCT FROM 'true'::jsonb ORDER BY q.position
            ) AS resets
        FROM jsonb_array_elements(p_quotes) WITH ORDINALITY AS q (quote, position)
        WHERE app.sp_wire_time(q.quote ->> 'at') >= '1900-01-01 00:00+00'
    ) AS a
    CROSS JOIN LATERAL app.sp_quotes_store(
        p_source, a.symbols, a.prices, a.ats, a.resets
    ) AS s;
    RETURN v_marks;
END
$$;
