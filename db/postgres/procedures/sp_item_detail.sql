-- sp_item_detail(item) -> jsonb
-- What the audit log and the outbox hold of an order that is placed.
-- Internal: sp_place_items. Test: test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_item_detail(i app.order_item)
RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'order_id', i.order_id, 'client_order_id', i.client_order_id, 'symbol', i.symbol,
        'side', i.side, 'order_type', i.order_type, 'quantity', i.quantity,
        'limit_price', i.limit_price, 'stop_price', i.stop_price,
        'time_in_force', i.time_in_force, 'expires_at', extract(EPOCH FROM i.expires_at),
        'strategy_id', i.strategy_id, 'request_id', i.request_id
    ));
END
$$;
