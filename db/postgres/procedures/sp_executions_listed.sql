-- sp_executions_listed(source, fills) -> how many of them were missing and are to be applied
-- Holds a broker's own list of executions, each {exec_id, client_order_id?, broker_order_id?,
-- quantity, price, fee?, fee_currency?, executed_at}, against ours. One that we have not, and that
-- is not on its way, goes into the inbox once, to be applied as any report; of which order it is,
-- its name tells, or else the broker's id of it. One that we have otherwise for longer than such a
-- list can be old is a break. What cannot be read is left out, and silence proves nothing.
-- SQLSTATE 25001; IN404 source_unknown; IN422 fills_invalid. Called by app_worker.
-- Test: test_sp_executions_listed.py

CREATE OR REPLACE FUNCTION app.sp_executions_listed(p_source text, p_fills jsonb)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    -- A report may still be on its way; a list of QuantConnect's may be ten minutes old.
    c_fresh constant interval := '5 s';
    c_list_age_max constant interval := '15 min';
    v_account_id bigint := app.sp_source_account(p_source);
    v_missing integer;
    v_fill jsonb;
BEGIN
    PERFORM app.sp_require_read_committed();
    IF v_account_id IS NULL THEN
        RAISE EXCEPTION 'no account reports from here'
            USING ERRCODE = 'IN404', DETAIL = 'source_unknown';
    END IF;
    IF jsonb_typeof(p_fills) IS DISTINCT FROM 'array' OR jsonb_array_length(p_fills) > 5000 THEN
        RAISE EXCEPTION 'not a list of at most 5,000 fills'
            USING ERRCODE = 'IN422', DETAIL = 'fills_invalid';
    END IF;
    IF EXISTS (
        SELECT FROM app.inbox AS i WHERE i.source = p_source AND i.applied_at IS NULL
    ) THEN
        RETURN 0;
    END IF;

    INSERT INTO app.inbox (source, event_id, shard, epoch, payload)
    SELECT DISTINCT ON (f.exec_id)
        p_source, 'listed:' || f.exec_id, v_account_id % 16, 0,
        jsonb_build_object(
            'kind', 'order_event', 'event_id', 'listed:' || f.exec_id, 'client_order_id', coalesce(
                nullif(l.fill ->> 'client_order_id', ''),
                (
                    SELECT o.client_order_id FROM app.orders AS o
                    WHERE o.account_id = v_account_id
                        AND o.broker_order_id = l.fill ->> 'broker_order_id'
                    ORDER BY o.order_id DESC
                    LIMIT 1
                )
            ),
            'status', 'partially_filled', 'broker_order_id', l.fill -> 'broker_order_id',
            'exec_id', f.exec_id, 'fill_quantity', l.fill -> 'quantity',
            'fill_price', l.fill -> 'price', 'fee', l.fill -> 'fee',
            'fee_currency', l.fill -> 'fee_currency', 'occurred_at', l.fill -> 'executed_at'
        )
    FROM jsonb_array_elements(p_fills) AS l (fill)
    CROSS JOIN LATERAL app.sp_fill_parse(l.fill, 'USD') AS f
    WHERE f.executed_at < clock_timestamp() - c_fresh
        AND f.exec_id IS NOT NULL
        AND NOT EXISTS (
            SELECT FROM app.executions AS e
            WHERE (e.account_id, e.source, e.exec_base) = (v_account_id, p_source, f.exec_id)
        )
    ON CONFLICT (source, event_id) DO NOTHING;
    GET DIAGNOSTICS v_missing = ROW_COUNT;

    FOR v_fill IN
        SELECT jsonb_build_object(
            'exec_id', f.exec_id, 'fill_quantity', l.fill -> 'quantity',
            'fill_price', l.fill -> 'price'
        )
        FROM jsonb_array_elements(p_fills) AS l (fill)
        CROSS JOIN LATERAL app.sp_fill_parse(l.fill, 'USD') AS f
        CROSS JOIN LATERAL app.sp_execution_current(v_account_id, p_source, f.exec_id) AS e
        WHERE e.recorded_at < clock_timestamp() - c_list_age_max
            AND (e.kind = 'bust' OR (e.quantity, e.price) <> (f.quantity, f.price))
    LOOP
        PERFORM FROM app.streams AS s WHERE s.stream_id = v_account_id FOR NO KEY UPDATE;
        PERFORM app.sp_break_of_fill(v_account_id, p_source, v_fill);
    END LOOP;
    RETURN v_missing;
END
$$;
