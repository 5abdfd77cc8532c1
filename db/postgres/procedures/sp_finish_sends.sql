-- sp_finish_sends(owner, results) -> how many were applied
-- Records what became of sends: [{event_id, epoch, outcome, reason?, broker_order_id?,
-- retry_after_s?}]. Fenced: a result counts only while this owner holds the shard by a living lease
-- in the very epoch that began the send, and once; all others are left out of the count.
-- SQLSTATE 25001; IN422 owner_invalid, results_invalid. Called by app_worker.
-- Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_finish_sends(p_owner text, p_results jsonb)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_streams bigint[];
    v_result record;
    v_applied integer := 0;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    IF jsonb_typeof(p_results) IS DISTINCT FROM 'array' OR EXISTS (
        SELECT FROM jsonb_array_elements(p_results) AS r (result)
        WHERE (r.result ->> 'event_id' ~ '^[0-9]{1,18}$') IS NOT TRUE
            OR (r.result ->> 'epoch' ~ '^[0-9]{1,18}$') IS NOT TRUE
            OR (r.result ->> 'outcome' IN (
                'accepted', 'definite_reject', 'not_sent', 'throttled', 'auth', 'unknown'
            )) IS NOT TRUE
            OR coalesce(r.result ->> 'retry_after_s', '0') !~ '^[0-9]{1,9}(\.[0-9]{1,9})?$'
    ) THEN
        RAISE EXCEPTION 'not a list of results of sends'
            USING ERRCODE = 'IN422', DETAIL = 'results_invalid';
    END IF;
    v_streams := ARRAY(
        SELECT e.stream_id
        FROM jsonb_to_recordset(p_results) AS r (event_id bigint)
        JOIN app.events_outbox AS e ON e.event_id = r.event_id
    );
    PERFORM app.sp_fence(p_owner, v_streams);

    FOR v_result IN
        SELECT DISTINCT ON (e.event_id)
            e.event_id, r.outcome, r.reason, r.broker_order_id, r.retry_after_s
        FROM jsonb_to_recordset(p_results) AS r (
            event_id bigint, epoch bigint, outcome text, reason text, broker_order_id text,
            retry_after_s double precision
        )
        JOIN app.events_outbox AS e
            ON e.event_id = r.event_id
            AND e.last_outcome = 'sending'
            AND e.sending_epoch = r.epoch
        JOIN app.outbox_shards AS s
            ON s.shard = e.shard
            AND s.owner = p_owner
            AND s.epoch = r.epoch
            AND s.lease_until > clock_timestamp()
        WHERE e.stream_id = ANY(v_streams)
        ORDER BY e.event_id
    LOOP
        PERFORM app.sp_finish_send(
            v_result.event_id, v_result.outcome, v_result.reason, v_result.broker_order_id,
            v_result.retry_after_s
        );
        v_applied := v_applied + 1;
    END LOOP;
    RETURN v_applied;
END
$$;
