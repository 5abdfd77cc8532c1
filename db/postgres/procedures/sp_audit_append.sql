-- sp_audit_append(stream, actor, action, detail, rate, bound) -> sequence number
-- Appends one link to the hash chain of a stream; with sp_audit_append_all, many of one stream, and
-- sp_audit_append_each, one of many streams, the only writer of audit.audit_log. A rate and a
-- bound of what open orders bind, when given, are kept in the same update. The caller's transaction
-- decides whether it counts. Takes the stream's row lock, which writing procedures hold already.
-- P0002 when there is no such stream. Internal: granted to nobody. Test: test_audit_chain.py

CREATE OR REPLACE FUNCTION app.sp_audit_append(
    p_stream_id bigint, p_actor text, p_action text, p_detail jsonb,
    p_rate_at timestamptz DEFAULT NULL, p_bound app.open_bound DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_seq bigint;
    v_epoch_us bigint := extract(EPOCH FROM clock_timestamp()) * 1000000;
    v_hash bytea;
BEGIN
    INSERT INTO audit.audit_log (
        stream_id, seq, epoch_us, actor, db_user, action, detail, prev_hash, hash
    )
    SELECT
        s.stream_id, s.seq + 1, v_epoch_us, p_actor, session_user, p_action, p_detail, s.head,
        app.sp_audit_hash(
            s.head, s.stream_id, s.seq + 1, v_epoch_us,
            app.sp_audit_names(p_actor, session_user, p_action), p_detail
        )
    FROM app.streams AS s
    WHERE s.stream_id = p_stream_id
    FOR NO KEY UPDATE
    RETURNING seq, hash INTO STRICT v_seq, v_hash;
    UPDATE app.streams AS s
    SET
        seq = v_seq, head = v_hash, rate_at = coalesce(p_rate_at, s.rate_at),
        open_bound = coalesce(p_bound, s.open_bound)
    WHERE s.stream_id = p_stream_id;
    RETURN v_seq;
END
$$;
