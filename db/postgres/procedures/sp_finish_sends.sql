-- sp_finish_sends(owner, results) -> how many were applied
-- Records what became of sends: [{event_id, epoch, attempts, outcome, reason?, broker_order_id?,
-- retry_after_s?}]. Fenced: a result counts only while this owner holds the shard by a living lease
-- in the very epoch that began the send, only for the attempt that the row is in, and once; all
-- others are left out of the count. What became of a question must not be taken for what became of
-- the place that its answer, being quicker, has let go out meanwhile. Results of accounts that
-- somebody else is writing to may be left out as well: who tells the same again hears 0 in the end.
-- SQLSTATE 25001; IN422 owner_invalid, results_invalid. Called by app_worker.
-- Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_finish_sends(p_owner text, p_results jsonb)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
-- The plans are good for every number of rows; making one costs more than running it.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_streams bigint[];
    v_ends record;
    v_applied integer := 0;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    IF jsonb_typeof(p_results) IS DISTINCT FROM 'array' OR EXISTS (
        SELECT FROM jsonb_array_elements(p_results) AS r (result)
        WHERE (r.result ->> 'event_id' ~ '^[0-9]{1,18}$') IS NOT TRUE
            OR (r.result ->> 'epoch' ~ '^[0-9]{1,18}$') IS NOT TRUE
            OR (r.result ->> 'attempts' ~ '^[0-9]{1,5}$') IS NOT TRUE
            OR (r.result ->> 'outcome' IN (
                'accepted', 'definite_reject', 'not_sent', 'throttled', 'auth', 'unknown'
            )) IS NOT TRUE
            OR coalesce(r.result ->> 'retry_after_s', '0') !~ '^[0-9]{1,9}(\.[0-9]{1,9})?$'
    ) THEN
        RAISE EXCEPTION 'not a list of results of sends'
            USING ERRCODE = 'IN422', DETAIL = 'results_invalid';
    END IF;
    v_streams := app.sp_fence(p_owner, ARRAY(
        SELECT e.stream_id
        FROM jsonb_to_recordset(p_results) AS r (event_id bigint, epoch bigint, attempts integer)
        JOIN app.events_outbox AS e
            ON e.event_id = r.event_id
            AND e.last_outcome = 'sending'
            AND e.sending_epoch = r.epoch
            AND e.attempts = r.attempts
        GROUP BY e.stream_id
        ORDER BY min(e.event_id)
    ), current_setting('lock_timeout'));

    -- One result of each lane at a time: what comes second sees what the first has done.
    LOOP
        SELECT
            count(*) AS results,
            array_agg(x.order_id) FILTER (WHERE f.status_after IS NOT NULL) AS orders,
            array_agg(f.status_after) FILTER (WHERE f.status_after IS NOT NULL) AS statuses,
            array_agg(f.reason_code) FILTER (WHERE f.status_after IS NOT NULL) AS reasons,
            array_agg(f.detail) FILTER (WHERE f.status_after IS NOT NULL) AS details,
            array_agg(x.event_id) FILTER (WHERE f.archived_as IS NOT NULL) AS done,
            array_agg(f.archived_as) FILTER (WHERE f.archived_as IS NOT NULL) AS outcomes,
            jsonb_object_agg(x.order_id, x.broker_order_id)
                FILTER (WHERE x.broker_order_id IS NOT NULL) AS broker_order_ids
        INTO v_ends
        FROM (
            SELECT DISTINCT ON (e.stream_id)
                e.event_id, e.order_id, e AS event, r.outcome, r.reason, r.retry_after_s,
                CASE e.last_action WHEN 'place' THEN r.broker_order_id END AS broker_order_id
            FROM jsonb_to_recordset(p_results) AS r (
                event_id bigint, epoch bigint, attempts integer, outcome text, reason text,
                broker_order_id text, retry_after_s double precision
            )
            JOIN app.events_outbox AS e
                ON e.event_id = r.event_id
                AND e.last_outcome = 'sending'
                AND e.sending_epoch = r.epoch
                AND e.attempts = r.attempts
            JOIN app.outbox_shards AS s
                ON s.shard = e.shard
                AND s.owner = p_owner
                AND s.epoch = r.epoch
                AND s.lease_until > clock_timestamp()
            WHERE e.stream_id = ANY(v_streams)
            ORDER BY e.stream_id, e.event_id
        ) AS x
        JOIN app.orders AS o ON o.order_id = x.order_id
        CROSS JOIN LATERAL app.sp_finish_send(x.event, o, x.outcome, x.reason, x.retry_after_s)
            AS f;
        EXIT WHEN v_ends.results = 0;
        v_applied := v_applied + v_ends.results;
        PERFORM app.sp_orders_move(
            v_ends.orders, v_ends.statuses, v_ends.reasons, v_ends.details, 'system:worker',
            'finish_send'
        );
        UPDATE app.orders AS o
        SET broker_order_id = b.broker_order_id
        FROM jsonb_each_text(v_ends.broker_order_ids) AS b (order_id, broker_order_id)
        WHERE o.order_id = b.order_id::bigint;
        PERFORM app.sp_outbox_archive_all(v_ends.done, v_ends.outcomes);
    END LOOP;
    RETURN v_applied;
END
$$;
