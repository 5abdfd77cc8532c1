-- sp_renew_shards(owner, lease) -> shard, epoch of what is still this owner's
-- A lease that is over is not renewed: another may have taken the shard, and who stalled that long
-- begins anew with sp_acquire_shards. Where this session lacks the advisory lock, it tries for it:
-- after a take-over from a session that still lived, or a reconnect of the same process.
-- SQLSTATE 25001; IN422 owner_invalid, lease_invalid. Called by app_worker. Test: test_sp_shards.py

CREATE OR REPLACE FUNCTION app.sp_renew_shards(p_owner text, p_lease interval)
RETURNS TABLE (shard smallint, epoch bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_held smallint[] := app.sp_shard_locks();
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_lease(p_owner, p_lease);
    PERFORM FROM app.outbox_shards AS s
    WHERE s.owner = p_owner
    ORDER BY s.shard
    FOR NO KEY UPDATE;
    RETURN QUERY
    UPDATE app.outbox_shards AS s
    SET
        lease_until = clock_timestamp() + p_lease,
        locked = CASE
            WHEN s.shard = ANY(v_held) THEN TRUE
            ELSE pg_try_advisory_lock(73001, s.shard) OR s.locked
        END
    WHERE s.owner = p_owner AND s.lease_until > clock_timestamp()
    RETURNING s.shard, s.epoch;
END
$$;
