-- sp_quotes_heard(source, quotes) -> instruments whose mark was written
-- sp_record_quotes for the sources that the worker hears itself; it never speaks for a bridge.
-- IN422 source_invalid, quotes_invalid, price_invalid. Called by app_worker.
-- Test: test_quote_sources.py

CREATE OR REPLACE FUNCTION app.sp_quotes_heard(p_source text, p_quotes jsonb) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT coalesce(p_source IN ('replay', 'ib'), FALSE) THEN
        RAISE EXCEPTION 'no source of the worker'
            USING ERRCODE = 'IN422', DETAIL = 'source_invalid';
    END IF;
    RETURN app.sp_record_quotes(p_source, p_quotes);
END
$$;
