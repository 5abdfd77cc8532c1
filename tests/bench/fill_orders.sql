-- Ten million orders of the past, none of them open, for measuring what they cost a new one.
-- Run as superuser with session_replication_role = replica, over the master data of bench_cluster;
-- what no other table leans on is dropped and made anew when the rows are in.

-- step: put indexes aside
CREATE TABLE public.put_aside AS
SELECT
    format('ALTER TABLE app.orders DROP CONSTRAINT %I', conname) AS away,
    format('ALTER TABLE app.orders ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) AS back
FROM pg_catalog.pg_constraint
WHERE conrelid = 'app.orders'::regclass AND contype = 'u'
UNION ALL
SELECT format('DROP INDEX %s', x.indexrelid::regclass), pg_get_indexdef(x.indexrelid)
FROM pg_catalog.pg_index AS x
WHERE x.indrelid = 'app.orders'::regclass
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS c WHERE c.conindid = x.indexrelid);
DO $$
DECLARE
    v_statement text;
BEGIN
    FOR v_statement IN SELECT p.away FROM public.put_aside AS p LOOP
        EXECUTE v_statement;
    END LOOP;
END
$$;

-- step: orders
INSERT INTO app.orders (
    client_order_id, request_hash, account_id, instrument_id, side, order_type, time_in_force,
    quantity, limit_price, status, created_by, request_id, created_at, updated_at
)
SELECT
    gen_random_uuid()::text, sha256(int8send(n)),
    1 + n * 7919 % current_setting('bench.accounts')::bigint, 1, 'buy', 'limit', 'day', 10, 99,
    'canceled',
    lpad(to_hex(1 + n * 7919 % current_setting('bench.accounts')::bigint), 32, '0')::uuid, 'bench',
    t.at, t.at
FROM generate_series(1, current_setting('bench.orders')::bigint) AS n
CROSS JOIN LATERAL (
    SELECT current_setting('bench.now')::timestamptz
        - (current_setting('bench.orders')::bigint - n) * interval '3 s' AS at
) AS t;

-- step: make the indexes anew
DO $$
DECLARE
    v_statement text;
BEGIN
    FOR v_statement IN SELECT p.back FROM public.put_aside AS p LOOP
        EXECUTE v_statement;
    END LOOP;
    DROP TABLE public.put_aside;
END
$$;
