-- sp_audit_append_each(streams, actor, actions, details) -> how many
-- Appends one link to the hash chain of each of many streams; the set-based form of sp_audit_append
-- for streams that differ, as sp_audit_append_all is for links of one. 23505 when a stream is named
-- twice, because its second link needs the first. The caller's transaction decides whether it
-- counts, and holds the streams' row locks. Internal: granted to nobody. Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_audit_append_each(
    p_streams bigint[], p_actor text, p_actions text[], p_details jsonb[]
) RETURNS integer
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_epoch_us bigint := extract(EPOCH FROM clock_timestamp()) * 1000000;
    v_count integer;
BEGIN
    WITH linked AS (
        INSERT INTO audit.audit_log (
            stream_id, seq, epoch_us, actor, db_user, action, detail, prev_hash, hash
        )
        SELECT
            s.stream_id, s.seq + 1, v_epoch_us, p_actor, session_user, u.action, u.detail, s.head,
            app.sp_audit_hash(
                s.head, s.stream_id, s.seq + 1, v_epoch_us,
                app.sp_audit_names(p_actor, session_user, u.action), u.detail
            )
        FROM unnest(p_streams, p_actions, p_details) AS u (stream_id, action, detail)
        JOIN app.streams AS s ON s.stream_id = u.stream_id
        RETURNING stream_id, seq, hash
    )
    UPDATE app.streams AS s
    SET seq = k.seq, head = k.hash
    FROM linked AS k
    WHERE s.stream_id = k.stream_id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
