-- sp_query_open(owner, after) -> how many questions were queued
-- Queues order.query.v1 for orders that work at a venue and of which nothing was heard or asked for
-- `after`: a fill whose report got lost is found so. At most 100 a call, the longest silent first.
-- Without a living lease nothing is changed.
-- SQLSTATE 25001; IN422 owner_invalid, after_invalid. Called by app_worker.
-- Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_query_open(p_owner text, p_after interval)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_due bigint[];
    v_streams bigint[];
    v_queued integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    IF (p_after >= interval '1 s') IS NOT TRUE THEN
        RAISE EXCEPTION 'orders that work are asked about after a second or more'
            USING ERRCODE = 'IN422', DETAIL = 'after_invalid';
    END IF;
    SELECT array_agg(d.order_id), array_agg(d.account_id ORDER BY d.updated_at)
    INTO v_due, v_streams
    FROM (
        SELECT o.order_id, o.account_id, o.updated_at
        FROM app.orders AS o
        JOIN app.outbox_shards AS s
            ON s.shard = o.account_id % 16
            AND s.owner = p_owner
            AND s.lease_until > clock_timestamp()
        WHERE o.status IN ('accepted', 'partially_filled')
            AND o.origin = 'api'
            AND greatest(o.updated_at, o.next_query_at) <= clock_timestamp() - p_after
            AND NOT EXISTS (SELECT FROM app.events_outbox AS e WHERE e.order_id = o.order_id)
        ORDER BY o.updated_at
        LIMIT 100
    ) AS d;
    IF v_due IS NULL THEN
        RETURN 0;
    END IF;
    v_streams := app.sp_fence(p_owner, v_streams);

    WITH due AS (
        UPDATE app.orders AS o
        SET next_query_at = clock_timestamp()
        FROM app.outbox_shards AS s
        WHERE o.order_id = ANY (v_due)
            AND o.account_id = ANY (v_streams)
            AND o.status IN ('accepted', 'partially_filled')
            AND s.shard = o.account_id % 16
            AND s.owner = p_owner
            AND s.lease_until > clock_timestamp()
        RETURNING o.order_id
    )
    SELECT count(*) FILTER (WHERE app.sp_order_owe(d.order_id, 'order.query.v1'))
    INTO v_queued
    FROM due AS d;
    RETURN v_queued;
END
$$;
