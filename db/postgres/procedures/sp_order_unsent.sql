-- sp_order_unsent(order) -> boolean
-- Whether the order certainly never reached its route: nothing was begun, or what was begun is
-- known not to have left. The caller holds the stream lock, so no send can begin meanwhile.
-- Internal: sp_cancel_order. Test: test_sp_cancel_order.py

CREATE OR REPLACE FUNCTION app.sp_order_unsent(p_order_id bigint)
RETURNS boolean
LANGUAGE sql
STABLE
AS $$
    SELECT o.status IN ('new', 'submitting', 'submit_unknown') AND (
        o.status = 'new'
        OR EXISTS (
            SELECT FROM app.events_outbox AS e
            WHERE e.order_id = o.order_id
                AND e.kind = 'order.place.v1'
                AND coalesce(e.last_outcome, 'not_sent') NOT IN ('sending', 'unknown')
        )
    )
    FROM app.orders AS o
    WHERE o.order_id = p_order_id
$$;
