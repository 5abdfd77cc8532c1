-- sp_inflight_due(owner, after) -> order, account
-- The orders that sp_query_inflight asks after. Writes nothing. Internal. Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_inflight_due(p_owner text, p_after interval)
RETURNS TABLE (order_id bigint, account_id bigint)
LANGUAGE sql
STABLE
AS $$
    SELECT o.order_id, o.account_id
    FROM app.orders AS o
    JOIN app.outbox_shards AS s
        ON s.shard = o.account_id % 16
        AND s.owner = p_owner
        AND s.lease_until > clock_timestamp()
    -- As in orders_inflight_idx.
    WHERE (
        o.status IN (
            'submitting', 'submit_unknown', 'submitted', 'pending_cancel', 'pending_replace'
        ) OR (o.order_type = 'market' AND o.status IN ('accepted', 'partially_filled'))
    )
    AND o.origin = 'api'
    AND o.updated_at <= clock_timestamp() - p_after
    AND (o.next_query_at IS NULL OR o.next_query_at <= clock_timestamp())
    AND NOT EXISTS (SELECT FROM app.events_outbox AS e WHERE e.order_id = o.order_id)
    ORDER BY o.updated_at
    LIMIT 100
$$;
