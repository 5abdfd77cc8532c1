-- sp_query_inflight(owner, after) -> how many questions were queued
-- Queues order.query.v1 for orders of the owner's shards whose next report is due: nothing moved
-- for `after`, nothing of theirs is pending, and the schedule 1, 2, 5, 10, 30 s has come round. At
-- most 100 a call, the longest silent first. Without a living lease nothing is changed.
-- SQLSTATE 25001; IN422 owner_invalid, after_invalid. Called by app_worker.
-- Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_query_inflight(p_owner text, p_after interval)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_streams bigint[];
    v_queued integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    IF (p_after >= interval '0') IS NOT TRUE THEN
        RAISE EXCEPTION 'a time to wait is 0 or more'
            USING ERRCODE = 'IN422', DETAIL = 'after_invalid';
    END IF;
    v_streams := ARRAY(
        SELECT d.account_id
        FROM app.sp_inflight_due(p_owner, p_after) WITH ORDINALITY AS d (order_id, account_id, place)
        GROUP BY d.account_id
        ORDER BY min(d.place)
    );
    IF cardinality(v_streams) = 0 THEN
        RETURN 0;
    END IF;
    v_streams := app.sp_fence(p_owner, v_streams);

    WITH due AS (
        UPDATE app.orders AS o
        SET
            queries = least(o.queries + 1, 32767),
            next_query_at = clock_timestamp()
            + (ARRAY[1, 2, 5, 10, 30])[least(o.queries + 1, 5)] * interval '1 s'
        FROM app.sp_inflight_due(p_owner, p_after) AS d
        WHERE o.order_id = d.order_id AND o.account_id = ANY(v_streams)
        RETURNING o.order_id, o.account_id, o.client_order_id, o.request_id
    )
    SELECT count(app.sp_outbox_enqueue(
        d.account_id, 'order.query.v1', d.order_id,
        jsonb_build_object('client_order_id', d.client_order_id), d.request_id
    )) INTO v_queued
    FROM due AS d;
    RETURN v_queued;
END
$$;
