-- sp_release_shards(owner) -> how many
-- Gives up all shards of this owner and every shard lock of this session; repeating it is harmless.
-- SQLSTATE 25001; IN422 owner_invalid. Called by app_worker. Test: test_sp_shards.py

CREATE OR REPLACE FUNCTION app.sp_release_shards(p_owner text)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_shard smallint;
    v_released integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_owner, '^.{1,200}$', 'owner');
    PERFORM FROM app.outbox_shards AS s
    WHERE s.owner = p_owner
    ORDER BY s.shard
    FOR NO KEY UPDATE;
    UPDATE app.outbox_shards AS s
    SET owner = NULL, lease_until = '-infinity', locked = FALSE
    WHERE s.owner = p_owner;
    GET DIAGNOSTICS v_released = ROW_COUNT;
    FOREACH v_shard IN ARRAY app.sp_shard_locks() LOOP
        PERFORM pg_advisory_unlock(73001, v_shard);
    END LOOP;
    RETURN v_released;
END
$$;
