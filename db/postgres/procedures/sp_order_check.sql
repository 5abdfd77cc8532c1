-- sp_order_check(request id, client order id, side, type, quantity, limit, stop, tif,
--                expiry) -> nothing
-- Refuses what no order may look like: IN422 with the code of sp_order_fault.
-- Internal: sp_preview_order. Test: test_sp_preview_order.py

CREATE OR REPLACE FUNCTION app.sp_order_check(
    p_request_id text,
    p_client_order_id text,
    p_side text,
    p_order_type text,
    p_quantity numeric,
    p_limit_price numeric,
    p_stop_price numeric,
    p_time_in_force text,
    p_expires_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_fault text := app.sp_order_fault(
        p_request_id, p_client_order_id, p_side, p_order_type, p_quantity, p_limit_price,
        p_stop_price, p_time_in_force, p_expires_at
    );
BEGIN
    IF v_fault IS NOT NULL THEN
        PERFORM app.sp_refuse(v_fault);
    END IF;
END
$$;
