-- sp_audit_append_all(stream, actors, action, details, rate, bound) -> the last sequence number
-- Appends one link per actor and detail to the hash chain of a stream, in their order, and moves
-- its head once; the set-based form of sp_audit_append. A rate and a bound, when given, are kept in
-- the same update. The caller's transaction decides whether it counts. Takes the stream's row lock,
-- which writing procedures hold already. P0002 when there is no such stream. Internal: granted to
-- nobody. Test: test_audit_chain.py, test_sp_place_batch.py

CREATE OR REPLACE FUNCTION app.sp_audit_append_all(
    p_stream_id bigint, p_actors text[], p_action text, p_details jsonb[],
    p_rate_at timestamptz DEFAULT NULL, p_bound app.open_bound DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_seq bigint;
    v_head bytea;
    v_heads bytea[];
    v_actor text;
    v_names text;
    v_epoch_us bigint := extract(EPOCH FROM clock_timestamp()) * 1000000;
    v_count integer := cardinality(p_details);
BEGIN
    SELECT s.seq, s.head INTO STRICT v_seq, v_head
    FROM app.streams AS s
    WHERE s.stream_id = p_stream_id FOR NO KEY UPDATE;

    v_heads := ARRAY[v_head];
    FOR v_index IN 1..v_count LOOP
        IF p_actors[v_index] IS DISTINCT FROM v_actor THEN
            v_actor := p_actors[v_index];
            v_names := app.sp_audit_names(v_actor, session_user, p_action);
        END IF;
        v_head := app.sp_audit_hash(
            v_head, p_stream_id, v_seq + v_index, v_epoch_us, v_names, p_details[v_index]
        );
        v_heads[v_index + 1] := v_head;
    END LOOP;
    INSERT INTO audit.audit_log (
        stream_id, seq, epoch_us, actor, db_user, action, detail, prev_hash, hash
    )
    SELECT
        p_stream_id, v_seq + g.n, v_epoch_us, p_actors[g.n], session_user, p_action,
        p_details[g.n], v_heads[g.n], v_heads[g.n + 1]
    FROM generate_series(1, v_count) AS g (n);
    UPDATE app.streams AS s
    SET
        seq = v_seq + v_count, head = v_head, rate_at = coalesce(p_rate_at, s.rate_at),
        open_bound = coalesce(p_bound, s.open_bound)
    WHERE s.stream_id = p_stream_id;
    RETURN v_seq + v_count;
END
$$;
