-- sp_calendar_put(actor, exchange, first day, last day, days, openings, closes, early closes)
--     -> days that were written, changed or taken out
-- Makes the calendar of an exchange between two days exactly what is told, so that a day on which it
-- stays closed after all is taken out. The same again changes nothing. Audited on stream 0 when
-- something changed.
-- IN422 exchange_invalid, calendar_invalid: at most 20 years; each day once, inside the span, with
-- an opening before its close, both of that day or its neighbours.
-- Called by app_migrate, app_worker. Test: test_market_calendar.py

CREATE OR REPLACE FUNCTION app.sp_calendar_put(
    p_actor text, p_exchange text, p_first date, p_last date, p_days date [],
    p_opens_at timestamptz [], p_closes_at timestamptz [], p_early boolean []
)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_changed integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_exchange, '^[A-Z]{4}$', 'exchange');
    IF NOT coalesce(
        isfinite(p_first) AND isfinite(p_last) AND p_last - p_first BETWEEN 0 AND 7305, FALSE
    ) OR num_nulls(p_days, p_opens_at, p_closes_at, p_early) > 0 OR EXISTS (
        SELECT FROM unnest(p_days, p_opens_at, p_closes_at, p_early)
            AS s (day, opens_at, closes_at, early)
        WHERE num_nulls(s.day, s.opens_at, s.closes_at, s.early) > 0
           OR s.day NOT BETWEEN p_first AND p_last
           OR s.opens_at >= s.closes_at
           OR s.opens_at < s.day::timestamp AT TIME ZONE 'UTC' - interval '1 day'
           OR s.closes_at > s.day::timestamp AT TIME ZONE 'UTC' + interval '2 days'
    ) OR (SELECT count(*) <> count(DISTINCT d) FROM unnest(p_days) AS d)
    THEN
        RAISE EXCEPTION 'not the calendar of these days'
            USING ERRCODE = 'IN422', DETAIL = 'calendar_invalid';
    END IF;

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    WITH told AS (
        SELECT s.*
        FROM unnest(p_days, p_opens_at, p_closes_at, p_early)
            AS s (day, opens_at, closes_at, early)
    ),
    gone AS (
        DELETE FROM market.calendar AS c
        WHERE c.exchange = p_exchange AND c.session_date BETWEEN p_first AND p_last
            AND NOT EXISTS (SELECT FROM told AS t WHERE t.day = c.session_date)
        RETURNING 1
    ),
    written AS (
        INSERT INTO market.calendar AS c (
            exchange, session_date, opens_at, closes_at, early_close
        )
        SELECT p_exchange, t.day, t.opens_at, t.closes_at, t.early FROM told AS t
        ON CONFLICT (exchange, session_date) DO UPDATE
        SET opens_at = excluded.opens_at, closes_at = excluded.closes_at,
            early_close = excluded.early_close
        WHERE (c.opens_at, c.closes_at, c.early_close)
            <> (excluded.opens_at, excluded.closes_at, excluded.early_close)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM written) INTO v_changed;
    IF v_changed > 0 THEN
        PERFORM app.sp_audit_append(0, p_actor, 'calendar.put', jsonb_build_object(
            'exchange', p_exchange, 'from', p_first, 'to', p_last, 'sessions', cardinality(p_days),
            'changed', v_changed
        ));
    END IF;
    RETURN v_changed;
END
$$;
