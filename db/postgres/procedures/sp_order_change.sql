-- sp_order_change(order, actor, quantity, limit, stop) -> nothing
-- Takes other values over; null is unchanged. Less than what has been executed becomes just that.
-- Audited; moves no state. The caller holds the stream lock. Internal: sp_order_replace,
-- sp_apply_replaced, sp_book_execution. Test: test_sp_replace_order.py

CREATE OR REPLACE FUNCTION app.sp_order_change(
    p_order_id bigint,
    p_actor text,
    p_quantity numeric,
    p_limit_price numeric,
    p_stop_price numeric
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
BEGIN
    UPDATE app.orders AS o
    SET
        quantity = trim_scale(greatest(coalesce(p_quantity, o.quantity), o.cum_quantity)),
        limit_price = trim_scale(coalesce(p_limit_price, o.limit_price)),
        stop_price = trim_scale(coalesce(p_stop_price, o.stop_price)),
        pending_quantity = NULL,
        pending_limit_price = NULL,
        pending_stop_price = NULL,
        updated_at = clock_timestamp()
    WHERE o.order_id = p_order_id
    RETURNING o.* INTO STRICT v_order;
    PERFORM app.sp_audit_append(
        v_order.account_id, p_actor, 'order.changed',
        jsonb_strip_nulls(jsonb_build_object(
            'order_id', p_order_id, 'client_order_id', v_order.client_order_id,
            'quantity', v_order.quantity, 'limit_price', v_order.limit_price,
            'stop_price', v_order.stop_price
        ))
    );
END
$$;
