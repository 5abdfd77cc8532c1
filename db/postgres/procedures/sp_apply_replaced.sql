-- sp_apply_replaced(order, actor, event, event time) -> applied, or why not
-- The venue works the order with other values: {quantity?, limit_price?, stop_price?}; without any,
-- those that were asked for. Whatever the order was waiting for, the values are the venue's; a
-- replace on its way has ended. A filled order that turns out to be larger works again.
-- Internal: sp_apply_order_event, sp_apply_order_state. Test: test_sp_replace_events.py

CREATE OR REPLACE FUNCTION app.sp_apply_replaced(
    p_order_id bigint, p_actor text, p_event jsonb, p_event_at timestamptz
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_quantity numeric := app.sp_wire_number(p_event ->> 'quantity');
    v_limit_price numeric := app.sp_wire_number(p_event ->> 'limit_price');
    v_stop_price numeric := app.sp_wire_number(p_event ->> 'stop_price');
    v_target text;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF num_nulls(v_quantity, v_limit_price, v_stop_price) <> num_nulls(
        p_event ->> 'quantity', p_event ->> 'limit_price', p_event ->> 'stop_price'
    ) OR v_quantity = 0 OR v_limit_price = 0 OR v_stop_price = 0 THEN
        RETURN 'invalid';
    END IF;
    IF v_order.status = 'denied' THEN
        RETURN 'illegal';
    ELSIF v_order.status IN ('canceled', 'rejected', 'expired')
        OR (v_order.status = 'filled' AND (v_quantity > v_order.cum_quantity) IS NOT TRUE)
    THEN
        RETURN 'stale';
    END IF;
    IF num_nonnulls(v_quantity, v_limit_price, v_stop_price) = 0 THEN
        IF v_order.status <> 'pending_replace' THEN
            RETURN 'stale';
        END IF;
        v_quantity := v_order.pending_quantity;
        v_limit_price := v_order.pending_limit_price;
        v_stop_price := v_order.pending_stop_price;
    END IF;

    PERFORM app.sp_outbox_archive_order(p_order_id, 'order.replace.v1', 'replaced');
    PERFORM app.sp_order_change(p_order_id, p_actor, v_quantity, v_limit_price, v_stop_price);
    v_target := CASE
        WHEN coalesce(v_quantity, v_order.quantity) <= v_order.cum_quantity THEN 'filled'
        WHEN v_order.status IN ('pending_cancel', 'accepted', 'partially_filled')
            THEN v_order.status
        WHEN v_order.cum_quantity > 0 THEN 'partially_filled'
        ELSE 'accepted'
    END;
    IF v_target <> v_order.status AND v_order.status IN ('new', 'submitting') THEN
        PERFORM app.sp_order_known(p_order_id, p_event ->> 'broker_order_id');
    END IF;
    PERFORM app.sp_order_move(
        p_order_id, v_target, NULL, p_actor, 'replaced', p_event, p_event_at
    );
    IF v_order.status = 'filled' THEN
        PERFORM app.sp_order_owe(p_order_id, 'order.query.v1');
    END IF;
    RETURN 'applied';
END
$$;
