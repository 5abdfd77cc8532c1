-- sp_replace_fault(order row, quantity, limit, stop) -> the code of the refusal, or null
-- What no replace of this order may ask for now. Null is unchanged. An order that is being sent, of
-- unknown outcome or changed already cannot be changed before that is settled.
-- Internal: sp_replace_order. Test: test_sp_replace_order.py

CREATE OR REPLACE FUNCTION app.sp_replace_fault(
    p_order app.orders, p_quantity numeric, p_limit_price numeric, p_stop_price numeric
)
RETURNS text
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    v_fault text := app.sp_order_fault(
        p_order.request_id, p_order.client_order_id, p_order.side, p_order.order_type,
        coalesce(p_quantity, p_order.quantity), coalesce(p_limit_price, p_order.limit_price),
        coalesce(p_stop_price, p_order.stop_price), p_order.time_in_force, p_order.expires_at
    );
BEGIN
    RETURN CASE
        WHEN v_fault IS NOT NULL THEN v_fault
        WHEN p_order.origin = 'external' OR NOT (
            p_order.status IN ('accepted', 'partially_filled')
            OR app.sp_order_unsent(p_order.order_id)
        ) THEN 'order_not_replaceable'
        WHEN p_quantity <= p_order.cum_quantity THEN 'quantity_below_filled'
        WHEN coalesce(p_quantity = p_order.quantity, TRUE)
            AND coalesce(p_limit_price = p_order.limit_price, TRUE)
            AND coalesce(p_stop_price = p_order.stop_price, TRUE) THEN 'replace_empty'
    END;
END
$$;
