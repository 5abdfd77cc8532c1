-- sp_shard_locks() -> shards
-- The shards whose advisory lock this session holds. Internal. Test: test_sp_shards.py

CREATE OR REPLACE FUNCTION app.sp_shard_locks()
RETURNS smallint[]
LANGUAGE sql
VOLATILE
AS $$
    SELECT coalesce(array_agg(l.objid::integer::smallint), '{}')
    FROM pg_locks AS l
    WHERE l.locktype = 'advisory'
        AND l.pid = pg_backend_pid()
        AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        AND l.classid = 73001
        AND l.objsubid = 2
        AND l.granted
$$;
