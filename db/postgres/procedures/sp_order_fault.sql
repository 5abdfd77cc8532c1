-- sp_order_fault(request id, client order id, side, type, quantity, limit, stop, tif, expiry)
--               -> the code of the first bad field, or null
-- What no order may look like, before anything is looked up. Numbers are greater than 0, below
-- 10^12 and have at most 8 decimals; NaN is greater than every number, so the upper bound refuses
-- it as it does Infinity. Internal: sp_order_check, the procedures of placing.
-- Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_order_fault(
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
RETURNS text
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        -- A bound of length inside of the pattern costs ten times the pattern.
        WHEN (length(p_request_id) <= 64 AND p_request_id ~ '^[A-Za-z0-9_-]+$') IS NOT TRUE
            THEN 'request_id_invalid'
        WHEN (length(p_client_order_id) <= 36 AND p_client_order_id ~ '^[A-Za-z0-9_-]+$') IS NOT TRUE
            THEN 'client_order_id_invalid'
        WHEN (p_side IN ('buy', 'sell')) IS NOT TRUE THEN 'side_invalid'
        WHEN (p_order_type IN ('market', 'limit', 'stop', 'stop_limit')) IS NOT TRUE
            THEN 'order_type_invalid'
        WHEN (p_time_in_force IN ('day', 'gtc', 'gtd', 'ioc', 'fok')) IS NOT TRUE
            THEN 'time_in_force_invalid'
        WHEN (p_quantity > 0 AND p_quantity < 1e12 AND scale(trim_scale(p_quantity)) <= 8)
            IS NOT TRUE THEN 'quantity_invalid'
        -- No price where none belongs, a good one where one does.
        WHEN CASE
            WHEN p_order_type IN ('limit', 'stop_limit') THEN (
                p_limit_price > 0 AND p_limit_price < 1e12
                AND scale(trim_scale(p_limit_price)) <= 8
            ) IS NOT TRUE
            ELSE p_limit_price IS NOT NULL
        END THEN 'price_invalid'
        WHEN CASE
            WHEN p_order_type IN ('stop', 'stop_limit') THEN (
                p_stop_price > 0 AND p_stop_price < 1e12 AND scale(trim_scale(p_stop_price)) <= 8
            ) IS NOT TRUE
            ELSE p_stop_price IS NOT NULL
        END THEN 'price_invalid'
        WHEN (p_time_in_force = 'gtd') = (p_expires_at IS NULL)
            OR p_expires_at IN ('infinity', '-infinity') THEN 'expires_at_invalid'
    END
$$;
