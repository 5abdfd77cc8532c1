-- sp_order_check(request id, client order id, side, type, quantity, limit, stop, tif,
--                expiry) -> nothing
-- Refuses what no order may look like, before anything is looked up: IN422 with the code of the
-- first bad field. Internal: sp_place_order, sp_preview_order. Test: test_sp_place_order.py

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
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_limited boolean := p_order_type IN ('limit', 'stop_limit');
    v_stopped boolean := p_order_type IN ('stop', 'stop_limit');
BEGIN
    PERFORM app.sp_require_text(p_request_id, '^[A-Za-z0-9_-]{1,64}$', 'request_id');
    PERFORM app.sp_require_text(p_client_order_id, '^[A-Za-z0-9_-]{1,36}$', 'client_order_id');
    PERFORM app.sp_require_text(p_side, '^(buy|sell)$', 'side');
    PERFORM app.sp_require_text(p_order_type, '^(market|limit|stop|stop_limit)$', 'order_type');
    PERFORM app.sp_require_text(p_time_in_force, '^(day|gtc|gtd|ioc|fok)$', 'time_in_force');
    PERFORM app.sp_require_number(p_quantity, 'quantity');
    IF v_limited THEN
        PERFORM app.sp_require_number(p_limit_price, 'price');
    END IF;
    IF v_stopped THEN
        PERFORM app.sp_require_number(p_stop_price, 'price');
    END IF;
    IF v_limited = (p_limit_price IS NULL) OR v_stopped = (p_stop_price IS NULL) THEN
        RAISE EXCEPTION 'a % order takes no such price', p_order_type
            USING ERRCODE = 'IN422', DETAIL = 'price_invalid';
    END IF;
    IF (p_time_in_force = 'gtd') = (p_expires_at IS NULL)
        OR p_expires_at IN ('infinity', '-infinity')
    THEN
        RAISE EXCEPTION 'orders of time in force gtd, and only they, expire at a time'
            USING ERRCODE = 'IN422', DETAIL = 'expires_at_invalid';
    END IF;
END
$$;
