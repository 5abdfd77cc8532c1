-- sp_last_prices() -> the mark of every instrument, to refill the hot store. Callers: app_write.

CREATE OR REPLACE FUNCTION app.sp_last_prices()
RETURNS TABLE (
    symbol text, price numeric, source text, source_at timestamptz, received_at timestamptz
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.symbol, p.price, p.source, p.source_at, p.received_at
    FROM market.last_prices AS p
    JOIN app.instruments AS i ON i.instrument_id = p.instrument_id
    ORDER BY i.symbol
$$;
