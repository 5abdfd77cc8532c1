-- sp_order_hash(account, symbol, side, type, quantity, limit, stop, tif, expiry, strategy) -> hash
-- What makes two requests under one client order id the same: the SHA-256 of their fields with bars
-- between them, which no word of a valid order has; those of any other are never compared. Short,
-- since most orders then fit in one block of the hash.
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
        p_account_id, '|', p_symbol, '|', p_side, '|', p_order_type, '|',
        trim_scale(p_quantity), '|', trim_scale(p_limit_price), '|', trim_scale(p_stop_price), '|',
        p_time_in_force, '|', extract(EPOCH FROM p_expires_at), '|', p_strategy_id
    ), 'UTF8'))
$$;
