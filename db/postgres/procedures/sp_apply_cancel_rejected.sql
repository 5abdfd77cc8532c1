-- sp_apply_cancel_rejected(order, actor, event, event time) -> applied, or why not
-- The order goes back to where it was. UNKNOWN_ORDER proves nothing: the place may be on its way,
-- or the bridge in doubt. The order stays pending_cancel, and the answer to a question decides.
-- Internal: sp_apply_event. Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_apply_cancel_rejected(
    p_order_id bigint, p_actor text, p_event jsonb, p_event_at timestamptz
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF v_order.status <> 'pending_cancel' OR p_event ->> 'reason' = 'UNKNOWN_ORDER' THEN
        RETURN 'stale';
    END IF;
    PERFORM app.sp_order_known(p_order_id, p_event ->> 'broker_order_id');
    PERFORM app.sp_order_move(
        p_order_id,
        -- Who refuses to cancel an order has it.
        CASE WHEN v_order.cum_quantity > 0 THEN 'partially_filled' ELSE 'accepted' END,
        left(p_event ->> 'reason', 200), p_actor, 'cancel_rejected', p_event, p_event_at
    );
    RETURN 'applied';
END
$$;
