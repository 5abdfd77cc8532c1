-- sp_fx_rate(from, to, day) -> rate, rate_date; both null when there is none
-- What one unit of a currency is in another: the latest rate published for both, on the same day
-- and against the same base, not after the day asked for and not more than a week before it, which
-- bridges every holiday and no outage. Money that has no rate is not guessed: null times anything
-- is null. A currency in itself is 1. Called by app_read through the views, and internally.
-- Test: test_sp_fx.py

CREATE OR REPLACE FUNCTION app.sp_fx_rate(
    p_from text, p_to text, p_day date, OUT rate numeric, OUT rate_date date
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 1::numeric, p_day WHERE p_from = p_to
    UNION ALL
    (
        SELECT t.rate / f.rate, t.rate_date
        FROM market.fx_rates AS f
        JOIN market.fx_rates AS t ON t.base = f.base AND t.rate_date = f.rate_date
        WHERE p_from <> p_to
            AND f.quote = p_from
            AND t.quote = p_to
            AND t.rate_date BETWEEN p_day - 7 AND p_day
        ORDER BY t.rate_date DESC, t.base
        LIMIT 1
    )
$$;
