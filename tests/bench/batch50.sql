\set account random(1, 1000)
SELECT app.sp_place_orders(
    lpad(to_hex(one.account), 32, '0')::uuid, 'bench', 'bench',
    -- As text, which is what a driver sends, its keys in the order in which the API sends them.
    (
        SELECT ('[' || string_agg(
            '{"side": "buy", "symbol": "AAPL", "quantity": "10", "account_id": "' || one.account
            || '", "order_type": "limit", "limit_price": "99", "time_in_force": "day",'
            || ' "client_order_id": "' || substr(gen_random_uuid()::text, 4) || n || '"}', ','
        ) || ']')::jsonb
        FROM generate_series(1, 50) AS n
    )
)
FROM (SELECT :account::integer AS account) AS one;
