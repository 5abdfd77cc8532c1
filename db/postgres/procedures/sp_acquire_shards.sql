-- sp_acquire_shards(owner, max, lease) -> shard, epoch of every shard of this owner
-- Renews what this session holds and takes more, up to max: a shard whose advisory lock
-- (73001, shard) came free, since its owner's session is gone, or whose lease is over, since its
-- owner has stalled. New hands count one epoch further, which fences the old ones; the same owner
-- in another session counts as new hands, for what it was sending there is unknown.
-- Call it on the connection that stays open: the locks are the session's and outlive the call.
-- SQLSTATE 25001; IN422 owner_invalid, max_invalid, lease_invalid.
-- Called by app_worker. Test: test_sp_shards.py

CREATE OR REPLACE FUNCTION app.sp_acquire_shards(p_owner text, p_max integer, p_lease interval)
RETURNS TABLE (shard smallint, epoch bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_held smallint[] := app.sp_shard_locks();
    v_row app.outbox_shards;
    v_ours integer;
    v_locked boolean;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_lease(p_owner, p_lease);
    PERFORM app.sp_require_text(p_max::text, '^([1-9]|1[0-6])$', 'max');
    PERFORM FROM app.outbox_shards AS s ORDER BY s.shard FOR NO KEY UPDATE;

    UPDATE app.outbox_shards AS s
    SET lease_until = clock_timestamp() + p_lease
    WHERE s.owner = p_owner
        AND s.lease_until > clock_timestamp()
        AND (NOT s.locked OR s.shard = ANY(v_held));
    GET DIAGNOSTICS v_ours = ROW_COUNT;

    FOR v_row IN
        SELECT s.* FROM app.outbox_shards AS s
        WHERE NOT (
            s.owner IS NOT DISTINCT FROM p_owner
            AND s.lease_until > clock_timestamp()
            AND (NOT s.locked OR s.shard = ANY(v_held))
        )
        ORDER BY s.shard
    LOOP
        v_locked := v_row.shard = ANY(v_held) OR pg_try_advisory_lock(73001, v_row.shard);
        IF v_ours < p_max
            AND (v_row.lease_until <= clock_timestamp() OR (v_locked AND v_row.locked))
        THEN
            UPDATE app.outbox_shards AS s
            SET
                owner = p_owner,
                epoch = s.epoch + 1,
                lease_until = clock_timestamp() + p_lease,
                locked = v_locked
            WHERE s.shard = v_row.shard;
            v_ours := v_ours + 1;
        ELSIF v_locked THEN
            PERFORM pg_advisory_unlock(73001, v_row.shard);
        END IF;
    END LOOP;

    RETURN QUERY
    SELECT s.shard, s.epoch
    FROM app.outbox_shards AS s
    WHERE s.owner = p_owner AND s.lease_until > clock_timestamp()
    ORDER BY s.shard;
END
$$;
