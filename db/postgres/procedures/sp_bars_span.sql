-- sp_bars_span(source) -> first and last bar of every instrument that has bars of that source
-- Callers: app_migrate.

CREATE OR REPLACE FUNCTION app.sp_bars_span(p_source text)
RETURNS TABLE (symbol text, first_at timestamptz, last_at timestamptz)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.symbol, min(b.bar_at), max(b.bar_at)
    FROM market.bars AS b
    JOIN app.instruments AS i ON i.instrument_id = b.instrument_id
    WHERE b.source = p_source
    GROUP BY i.symbol
$$;
