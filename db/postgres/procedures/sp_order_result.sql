-- sp_order_result(order row, replayed, why a replace was denied) -> app.order_result
-- What a caller is told of an order. Called by the procedures of the API.
-- Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_order_result(
    p_order app.orders, p_replayed boolean, p_replace_denied text DEFAULT NULL
)
RETURNS app.order_result
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    RETURN ROW(
        p_order.order_id,
        p_order.client_order_id,
        p_order.account_id,
        p_order.status,
        p_order.reason_code,
        p_order.cum_quantity,
        p_order.average_price,
        p_replayed,
        p_order.created_at,
        p_order.updated_at,
        p_order.quantity_max,
        p_replace_denied
    )::app.order_result;
END
$$;
