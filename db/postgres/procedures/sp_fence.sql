-- sp_fence(owner, streams) -> nothing
-- Takes the locks of a worker's write: the streams in ascending order, then the shards of the owner
-- in share mode, so that none of them changes hands before the caller commits.
-- Internal: sp_begin_sends, sp_finish_sends, sp_query_inflight. Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_fence(p_owner text, p_streams bigint[])
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM app.streams AS s
    WHERE s.stream_id = ANY(p_streams)
    ORDER BY s.stream_id
    FOR NO KEY UPDATE;
    PERFORM FROM app.outbox_shards AS s
    WHERE s.owner = p_owner
    ORDER BY s.shard
    FOR SHARE;
END
$$;
