-- sp_audit_verify(stream) -> rows checked, first broken sequence number or NULL when whole
-- Finds an edit (its row, or the next one when its hash was made anew), a gap (the missing number),
-- a cut-off tail and an append past the head. Reads one snapshot, so writers do not disturb it.
-- A rewritten chain with a rewritten head is found by the anchors outside the database alone.
-- Callers: app_worker, app_migrate.

CREATE OR REPLACE FUNCTION app.sp_audit_verify(p_stream_id bigint)
RETURNS TABLE (checked bigint, broken_seq bigint)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH links AS (
        SELECT
            a.*,
            row_number() OVER w AS expected_seq,
            lag(a.hash, 1, '\x') OVER w AS expected_prev_hash
        FROM audit.audit_log AS a
        WHERE a.stream_id = p_stream_id
        WINDOW w AS (ORDER BY a.seq)
    ),
    broken AS (
        SELECT min(l.expected_seq) AS seq
        FROM links AS l
        WHERE l.seq <> l.expected_seq
           OR l.prev_hash <> l.expected_prev_hash
           OR l.hash <> app.sp_audit_hash(
               l.prev_hash, l.stream_id, l.seq, l.epoch_us, l.actor, l.db_user, l.action, l.detail
           )
    ),
    tail AS (
        SELECT
            count(*) AS rows,
            (array_agg(l.hash ORDER BY l.seq DESC))[1] AS hash
        FROM links AS l
    ),
    head AS (
        SELECT coalesce(max(s.seq), 0) AS seq, max(encode(s.head, 'hex')) AS hash
        FROM app.streams AS s
        WHERE s.stream_id = p_stream_id
    )
    SELECT
        tail.rows,
        coalesce(broken.seq, CASE
            WHEN tail.rows <> head.seq THEN least(tail.rows, head.seq) + 1
            WHEN tail.rows > 0 AND encode(tail.hash, 'hex') <> head.hash THEN head.seq
        END)
    FROM broken, tail, head
$$;
