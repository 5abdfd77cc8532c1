-- sp_apply_values(order, actor, event, event time) -> applied, or why not
-- Compares what the venue works now {quantity?, limit_price?, stop_price?} with our order: other
-- values mean that a replace got through; the same, after the moment until which the route would
-- have taken it, that it never will.
-- Internal: sp_apply_order_state. Test: test_sp_replace_events.py

CREATE OR REPLACE FUNCTION app.sp_apply_values(
    p_order_id bigint, p_actor text, p_event jsonb, p_event_at timestamptz
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF (
        coalesce(app.sp_wire_number(p_event ->> 'quantity'), v_order.quantity),
        coalesce(app.sp_wire_number(p_event ->> 'limit_price'), v_order.limit_price, 0),
        coalesce(app.sp_wire_number(p_event ->> 'stop_price'), v_order.stop_price, 0)
    ) <> (v_order.quantity, coalesce(v_order.limit_price, 0), coalesce(v_order.stop_price, 0)) THEN
        RETURN app.sp_apply_replaced(p_order_id, p_actor, p_event, p_event_at);
    END IF;
    IF v_order.status <> 'pending_replace' OR NOT coalesce(p_event_at > v_order.valid_until, FALSE)
    THEN
        RETURN 'stale';
    END IF;
    PERFORM app.sp_outbox_archive_order(p_order_id, 'order.replace.v1', 'absent');
    PERFORM app.sp_order_move(
        p_order_id, app.sp_order_working(v_order), 'REPLACE_NOT_APPLIED', p_actor,
        'replace_rejected', p_event, p_event_at
    );
    RETURN 'applied';
END
$$;
