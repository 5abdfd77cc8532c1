\set account random(1, 1000)
SELECT app.sp_place_order(
    lpad(to_hex(one.account), 32, '0')::uuid, 'bench', 'bench', gen_random_uuid()::text,
    one.account, 'AAPL', 'buy', 'limit', 10, 99, NULL, 'day', NULL, NULL
)
FROM (SELECT :account::integer AS account) AS one;
