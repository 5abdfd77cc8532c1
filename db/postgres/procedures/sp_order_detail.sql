-- sp_order_detail(order, client order id, symbol, side, type, quantity, limit, stop, tif, expiry,
--                 strategy, request id) -> jsonb
-- What audit and outbox tell of a placed order, without what is null; the expiry in seconds since
-- 1970. Put together by hand, in the order in which jsonb keeps its keys, which is less work than
-- to_jsonb: the words of an order that passed sp_order_fault, and of an instrument, need no escape.
-- Internal: the procedures of placing. Test: test_sp_place_batch.py, test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_order_detail(
    p_order_id bigint,
    p_client_order_id text,
    p_symbol text,
    p_side text,
    p_order_type text,
    p_quantity numeric,
    p_limit_price numeric,
    p_stop_price numeric,
    p_time_in_force text,
    p_expires_at timestamptz,
    p_strategy_id bigint,
    p_request_id text
)
RETURNS jsonb
LANGUAGE sql
STABLE
AS $$
    SELECT concat(
        '{"side": "', p_side, '", "symbol": "', p_symbol, '", "order_id": ', p_order_id,
        ', "quantity": ', p_quantity,
        ', "expires_at": ' || extract(EPOCH FROM p_expires_at)::text,
        ', "order_type": "', p_order_type, '", "request_id": "', p_request_id, '"',
        ', "stop_price": ' || p_stop_price::text,
        ', "limit_price": ' || p_limit_price::text,
        ', "strategy_id": ' || p_strategy_id::text,
        ', "time_in_force": "', p_time_in_force,
        '", "client_order_id": "', p_client_order_id, '"}'
    )::jsonb
$$;
