-- sp_order_replace(order row, actor, request id, quantity, limit, stop) -> nothing
-- Takes a change over at once when the order certainly never left, else asks the venue for it. Null
-- is unchanged. The caller holds the stream lock and has checked the change.
-- Internal: sp_replace_order. Test: test_sp_replace_order.py

CREATE OR REPLACE FUNCTION app.sp_order_replace(
    p_order app.orders,
    p_actor text,
    p_request_id text,
    p_quantity numeric,
    p_limit_price numeric,
    p_stop_price numeric
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF app.sp_order_unsent(p_order.order_id) THEN
        PERFORM app.sp_order_change(
            p_order.order_id, p_actor, p_quantity, p_limit_price, p_stop_price
        );
        RETURN;
    END IF;
    PERFORM app.sp_order_move(p_order.order_id, 'pending_replace', NULL, p_actor, 'replace');
    UPDATE app.orders AS o
    SET
        pending_quantity = trim_scale(p_quantity),
        pending_limit_price = trim_scale(p_limit_price),
        pending_stop_price = trim_scale(p_stop_price)
    WHERE o.order_id = p_order.order_id;
    PERFORM app.sp_outbox_enqueue(
        p_order.account_id, 'order.replace.v1', p_order.order_id,
        jsonb_strip_nulls(jsonb_build_object(
            'client_order_id', p_order.client_order_id, 'quantity', trim_scale(p_quantity),
            'limit_price', trim_scale(p_limit_price), 'stop_price', trim_scale(p_stop_price)
        )),
        p_request_id
    );
END
$$;
