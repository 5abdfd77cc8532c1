-- sp_fx_rates_put(actor, source, base, rates) -> rates written or changed
-- Each rate is {quote, rate_date, rate, original_date?}: units of a currency for one of the base,
-- the rate a string. What is there already in the same words is left alone; another rate of that
-- day replaces it. The base itself is kept as 1, so that any rate is a quotient of two rows.
-- Audited on stream 0 when something changed.
-- IN422 source_invalid, base_invalid, rates_invalid. Called by app_migrate. Test: test_sp_fx.py

CREATE OR REPLACE FUNCTION app.sp_fx_rates_put(
    p_actor text, p_source text, p_base text, p_rates jsonb
)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_written integer;
    v_first date;
    v_last date;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_source, '^[a-z]{1,20}$', 'source');
    PERFORM app.sp_require_text(p_base, '^[A-Z]{3}$', 'base');
    IF jsonb_typeof(p_rates) IS DISTINCT FROM 'array' OR jsonb_array_length(p_rates) > 20000
        OR EXISTS (
            SELECT FROM jsonb_array_elements(p_rates) AS r (one)
            WHERE (
                r.one ->> 'quote' ~ '^[A-Z]{3}$'
                AND r.one ->> 'quote' <> p_base
                AND r.one ->> 'rate_date' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
                AND coalesce(r.one ->> 'original_date', '2000-01-01')
                ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
                AND r.one ->> 'rate' ~ '^[0-9]{1,12}(\.[0-9]{1,12})?$'
                AND r.one ->> 'rate' ~ '[1-9]'
            ) IS NOT TRUE
        )
    THEN
        RAISE EXCEPTION 'not a list of at most 20,000 rates'
            USING ERRCODE = 'IN422', DETAIL = 'rates_invalid';
    END IF;

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    WITH told AS (
        SELECT DISTINCT ON (r.quote, r.rate_date) r.*
        FROM jsonb_to_recordset(p_rates)
            AS r (quote text, rate_date date, rate numeric, original_date date)
    ),
    written AS (
        INSERT INTO market.fx_rates AS t (base, quote, rate_date, rate, source, original_date)
        SELECT p_base, k.quote, k.rate_date, k.rate, p_source, k.original_date
        FROM told AS k
        UNION
        SELECT p_base, p_base, k.rate_date, 1, p_source, k.original_date
        FROM told AS k
        ON CONFLICT (quote, base, rate_date) DO UPDATE
        SET rate = excluded.rate, source = excluded.source, original_date = excluded.original_date
        WHERE (t.rate, t.source, t.original_date)
            IS DISTINCT FROM (excluded.rate, excluded.source, excluded.original_date)
        RETURNING t.quote, t.rate_date
    )
    SELECT count(*) FILTER (WHERE w.quote <> p_base), min(w.rate_date), max(w.rate_date)
    INTO v_written, v_first, v_last
    FROM written AS w;
    IF v_written > 0 THEN
        PERFORM app.sp_audit_append(0, p_actor, 'fx_rates.put', jsonb_build_object(
            'source', p_source, 'base', p_base, 'rates', v_written, 'from', v_first, 'to', v_last
        ));
    END IF;
    RETURN v_written;
END
$$;
