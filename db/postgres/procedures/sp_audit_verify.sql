-- sp_audit_verify(stream, from, rows max) -> rows checked, first broken sequence number, why, next
-- Checks a stream's chain, or that slice of it, in one pass. Null for the broken number means
-- whole; `next_seq` is where the next slice begins, null after the last.
-- `why` says what is wrong at that number:
--   missing  there is no such row          content  the row was edited: its hash is another
--   link     it follows another row        extra    a row that the head knows nothing of
--   head     the head is another than the hash of the last row
-- Reads one snapshot, so writers do not disturb it. A chain that was made anew after an edit, and a
-- tail that was cut off together with the head, are whole: only the anchors outside the database
-- find those (docs/audit.md). Callers: app_worker, app_migrate, sp_admin_audit_verify.
-- Test: test_audit_chain.py

CREATE OR REPLACE FUNCTION app.sp_audit_verify(
    p_stream_id bigint, p_from_seq bigint DEFAULT 1, p_rows_max bigint DEFAULT NULL
)
RETURNS TABLE (checked bigint, broken_seq bigint, why text, next_seq bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Of the first slice, what lies before the first number too.
    v_from bigint := CASE WHEN p_from_seq > 1 THEN p_from_seq ELSE -9223372036854775807 END;
    -- The first number after the slice.
    v_end bigint := p_from_seq + p_rows_max;
    v_head_seq bigint;
    v_head bytea;
    v_before bytea := '\x';
    v_last bytea;
BEGIN
    SELECT s.seq, s.head INTO v_head_seq, v_head
    FROM app.streams AS s WHERE s.stream_id = p_stream_id;
    v_head_seq := coalesce(v_head_seq, 0);
    IF p_from_seq > 1 THEN
        SELECT a.hash INTO v_before
        FROM audit.audit_log AS a
        WHERE a.stream_id = p_stream_id AND a.seq = p_from_seq - 1;
    END IF;

    -- OFFSET 0 keeps a query from being merged into the one around it: a hash is computed once a
    -- row, and what is put in order is narrow.
    WITH entries AS (
        SELECT
            a.seq, a.prev_hash, a.hash,
            a.hash <> app.sp_audit_hash(
                a.prev_hash, a.stream_id, a.seq, a.epoch_us,
                app.sp_audit_names(a.actor, a.db_user, a.action), a.detail
            ) AS edited
        FROM audit.audit_log AS a
        WHERE a.stream_id = p_stream_id
            AND a.seq >= v_from
            AND a.seq <= coalesce(v_end - 1, 9223372036854775807)
        OFFSET 0
    ),
    links AS (
        SELECT
            e.*,
            p_from_seq - 1 + row_number() OVER w AS expected_seq,
            lag(e.hash, 1, v_before) OVER w AS expected_prev_hash
        FROM entries AS e
        WINDOW w AS (ORDER BY e.seq)
    ),
    judged AS (
        SELECT
            l.expected_seq, l.seq, l.hash,
            CASE
                WHEN l.seq < l.expected_seq OR l.seq > v_head_seq THEN 'extra'
                WHEN l.seq > l.expected_seq THEN 'missing'
                WHEN l.prev_hash IS DISTINCT FROM l.expected_prev_hash THEN 'link'
                WHEN l.edited THEN 'content'
            END AS fault
        FROM links AS l
        OFFSET 0
    )
    SELECT
        count(*),
        min(j.expected_seq) FILTER (WHERE j.fault IS NOT NULL),
        (array_agg(j.fault ORDER BY j.expected_seq) FILTER (WHERE j.fault IS NOT NULL))[1],
        (array_agg(j.hash) FILTER (WHERE j.seq = v_head_seq))[1]
    INTO checked, broken_seq, why, v_last
    FROM judged AS j;

    -- Rows that the head counts and the table has not, after those that were checked.
    IF p_from_seq + checked < least(coalesce(v_end, v_head_seq + 1), v_head_seq + 1) THEN
        IF broken_seq IS NULL THEN
            broken_seq := p_from_seq + checked;
            why := 'missing';
        END IF;
    ELSIF v_end <= v_head_seq THEN
        next_seq := v_end;
    ELSIF broken_seq IS NULL THEN
        SELECT min(a.seq) INTO broken_seq
        FROM audit.audit_log AS a
        WHERE a.stream_id = p_stream_id AND a.seq > v_head_seq;
        IF broken_seq IS NOT NULL THEN
            why := 'extra';
        ELSIF v_head_seq >= p_from_seq AND v_last IS DISTINCT FROM v_head
            OR v_head_seq = 0 AND v_head <> '\x'
        THEN
            broken_seq := v_head_seq;
            why := 'head';
        END IF;
    END IF;
    RETURN NEXT;
END
$$;
