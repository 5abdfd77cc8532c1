-- sp_replace_check(order row, quantity, limit, stop) -> (reason_code, quantity_max)
-- Why a changed order is denied, or null. Null is unchanged. What grows or is priced anew is judged
-- as a new order of that size would be; what only shrinks needs to stay on its lots.
-- The caller holds the stream lock. Internal: sp_replace_order, sp_begin_send.
-- Test: test_sp_replace_order.py

CREATE OR REPLACE FUNCTION app.sp_replace_check(
    p_order app.orders,
    p_quantity numeric,
    p_limit_price numeric,
    p_stop_price numeric,
    OUT reason_code text,
    OUT quantity_max numeric
)
LANGUAGE plpgsql
AS $$
BEGIN
    IF coalesce(p_quantity, 0) <= p_order.quantity
        AND coalesce(p_limit_price = p_order.limit_price, TRUE)
        AND coalesce(p_stop_price = p_order.stop_price, TRUE)
    THEN
        SELECT 'QUANTITY_NOT_ON_LOT' INTO reason_code
        FROM app.instruments AS i
        WHERE i.instrument_id = p_order.instrument_id AND mod(p_quantity, i.lot_size) <> 0;
        RETURN;
    END IF;
    SELECT r.reason_code, r.quantity_max
    INTO reason_code, quantity_max
    FROM app.sp_risk_check(jsonb_populate_record(p_order, jsonb_strip_nulls(jsonb_build_object(
        'quantity', p_quantity, 'limit_price', p_limit_price, 'stop_price', p_stop_price
    )))) AS r;
END
$$;
