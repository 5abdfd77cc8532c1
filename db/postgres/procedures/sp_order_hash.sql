-- sp_order_hash(account, symbol, side, type, quantity, limit, stop, tif, expiry, strategy) -> hash
-- What makes two requests under one client order id the same: the SHA-256 of their fields as a JSON
-- array, put together by hand, which is half the work. What a valid order's words are needs no
-- escape; those of any other are never compared.
-- Internal: the procedures of placing. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_order_hash(
    p_account_id bigint,
    p_symbol text,
    p_side text,
    p_order_type text,
    p_quantity numeric,
    p_limit_price numeric,
    p_stop_price numeric,
    p_time_in_force text,
    p_expires_at timestamptz,
    p_strategy_id bigint
)
RETURNS bytea
LANGUAGE sql
STABLE
AS $$
    SELECT sha256(convert_to(concat(
        '[', p_account_id, ', "', p_symbol, '", "', p_side, '", "', p_order_type, '", ',
        coalesce(trim_scale(p_quantity)::text, 'null'), ', ',
        coalesce(trim_scale(p_limit_price)::text, 'null'), ', ',
        coalesce(trim_scale(p_stop_price)::text, 'null'), ', "', p_time_in_force, '", ',
        coalesce(extract(EPOCH FROM p_expires_at)::text, 'null'), ', ',
        coalesce(p_strategy_id::text, 'null'), ']'
    ), 'UTF8'))
$$;
