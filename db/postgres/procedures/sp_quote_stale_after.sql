-- sp_quote_stale_after(source) -> how long a mark of this source may be traded on; null: no source
-- The one list of where prices come from. A source that delivers in batches may be silent longer.
-- Internal: sp_quotes_store, the risk rules. Test: test_market_data.py

CREATE OR REPLACE FUNCTION app.sp_quote_stale_after(p_source text)
RETURNS interval
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE p_source
        WHEN 'replay' THEN interval '30 s'
        WHEN 'ib' THEN interval '30 s'
        WHEN 'quantconnect' THEN interval '120 s'
    END
$$;
