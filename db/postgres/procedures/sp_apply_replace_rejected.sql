-- sp_apply_replace_rejected(order, actor, event, event time) -> applied, or why not
-- The venue keeps the order as it was: what was asked for is dropped. UNKNOWN_ORDER proves nothing,
-- as with a cancel; the answer to a question decides.
-- Internal: sp_apply_event. Test: test_sp_replace_events.py

CREATE OR REPLACE FUNCTION app.sp_apply_replace_rejected(
    p_order_id bigint, p_actor text, p_event jsonb, p_event_at timestamptz
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF v_order.status <> 'pending_replace' OR p_event ->> 'reason' = 'UNKNOWN_ORDER' THEN
        RETURN 'stale';
    END IF;
    PERFORM app.sp_outbox_archive_order(p_order_id, 'order.replace.v1', 'rejected');
    PERFORM app.sp_order_move(
        p_order_id, app.sp_order_working(v_order), left(p_event ->> 'reason', 200), p_actor,
        'replace_rejected', p_event, p_event_at
    );
    RETURN 'applied';
END
$$;
