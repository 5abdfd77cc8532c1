-- sp_quotes_wanted(route, limit) -> symbols whose prices matter to the accounts of a route
-- What they hold comes first, then what can be traded in US dollars, by name; nothing while the
-- route has no account. Called by app_worker. Test: test_quote_sources.py

CREATE OR REPLACE FUNCTION app.sp_quotes_wanted(p_route text, p_limit integer)
RETURNS SETOF text
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.symbol
    FROM app.instruments AS i
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM app.positions AS p
            JOIN app.accounts AS a ON a.account_id = p.account_id
            WHERE p.instrument_id = i.instrument_id AND p.quantity <> 0 AND a.route = p_route
        ) AS is_held
    ) AS h
    WHERE i.currency = 'USD' AND (i.tradable OR h.is_held)
      AND EXISTS (SELECT FROM app.accounts AS a WHERE a.route = p_route)
    ORDER BY h.is_held DESC, i.symbol
    LIMIT greatest(0, least(p_limit, 1000))
$$;
