\set account random(1, 1000)
SELECT app.sp_place_orders(
    lpad(to_hex(one.account), 32, '0')::uuid, 'bench', 'bench',
    -- As text, which is what a driver sends.
    (
        SELECT ('[' || string_agg(
            '{"client_order_id": "' || substr(gen_random_uuid()::text, 4) || n
            || '", "account_id": "' || one.account || '", "symbol": "AAPL", "side": "buy",'
            || ' "order_type": "limit", "quantity": "10", "limit_price": "99",'
            || ' "time_in_force": "day"}', ','
        ) || ']')::jsonb
        FROM generate_series(1, 50) AS n
    )
)
FROM (SELECT :account::integer AS account) AS one;
