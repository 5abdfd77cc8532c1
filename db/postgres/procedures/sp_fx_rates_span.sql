-- sp_fx_rates_span(source) -> quote, first, last
-- From which day to which there are rates of a source, per currency. Writes nothing.
-- Called by app_migrate. Test: test_sp_fx.py

CREATE OR REPLACE FUNCTION app.sp_fx_rates_span(p_source text)
RETURNS TABLE (quote text, first date, last date)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.quote, min(r.rate_date), max(r.rate_date)
    FROM market.fx_rates AS r
    WHERE r.source = p_source
    GROUP BY r.quote
$$;
