-- sp_fence(owner, streams, patience) -> those that are locked now
-- Takes the locks of a worker's write: of the streams what sp_lock_streams gets, in the order of
-- who has waited longest, then the shards of the owner in share mode, so that none of them changes
-- hands before the caller commits. What is left out has its turn the next time.
-- Internal: sp_begin_sends, sp_finish_sends, sp_query_inflight, sp_query_open.
-- Test: test_sp_sends.py, test_sp_lanes_apart.py

-- Its arguments are part of what it is.
DROP FUNCTION IF EXISTS app.sp_fence(text, bigint[]);

CREATE OR REPLACE FUNCTION app.sp_fence(
    p_owner text, p_streams bigint[], p_patience text DEFAULT '100ms'
)
RETURNS bigint[]
LANGUAGE plpgsql
AS $$
DECLARE
    v_locked bigint[] := app.sp_lock_streams(p_streams, p_patience);
BEGIN
    PERFORM FROM app.outbox_shards AS s
    WHERE s.owner = p_owner
    ORDER BY s.shard
    FOR SHARE;
    RETURN v_locked;
END
$$;
