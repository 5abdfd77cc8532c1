\set account random(1, 64)
SELECT app.sp_audit_append(
    :account::bigint, 'bench', 'order.place',
    '{"order_id": 1, "client_order_id": "bench", "symbol": "AAPL", "side": "buy"}'
);
