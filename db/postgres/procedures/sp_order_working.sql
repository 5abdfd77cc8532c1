-- sp_order_working(order row) -> status
-- Where an order goes back to when its cancel or replace comes to nothing: what it was, or what is
-- known since.
-- Internal. Test: test_sp_sends.py, test_sp_events.py

CREATE OR REPLACE FUNCTION app.sp_order_working(p_order app.orders)
RETURNS text
LANGUAGE sql
STABLE
AS $$
    SELECT CASE
        WHEN p_order.cum_quantity >= p_order.quantity THEN 'filled'
        WHEN p_order.cum_quantity > 0 THEN 'partially_filled'
        WHEN p_order.broker_order_id IS NOT NULL THEN 'accepted'
        ELSE coalesce((
            SELECT CASE e.status_before
                WHEN 'submitted' THEN 'submitted'
                WHEN 'accepted' THEN 'accepted'
                ELSE 'submit_unknown'
            END
            FROM app.order_events AS e
            WHERE e.order_id = p_order.order_id
                AND e.status_after IN ('pending_cancel', 'pending_replace')
                AND e.status_before NOT IN ('pending_cancel', 'pending_replace')
            ORDER BY e.order_event_id DESC
            LIMIT 1
        ), 'submit_unknown')
    END
$$;
