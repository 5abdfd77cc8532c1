-- sp_reconcile() -> {account_id, figure, subject, ours, theirs, state} of each break that changed
-- Holds positions and cash against the brokers' newest reports. A difference is suspected first; in
-- three reports in a row it is open: recorded, audited, and its account may only reduce until an
-- administrator resumes it. What agrees again is mended. Nothing trades by itself, and a report
-- that is missing, old or unreadable changes nothing.
-- SQLSTATE 25001. Called by app_worker. Test: test_sp_reconcile.py

CREATE OR REPLACE FUNCTION app.sp_reconcile()
RETURNS SETOF jsonb
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_times constant integer := 3;
    c_actor constant text := 'system:reconciler';
    v_break app.recon_breaks;
    f record;
BEGIN
    PERFORM app.sp_require_read_committed();
    -- Everything is looked at again under the locks.
    PERFORM FROM app.streams AS s
    WHERE s.stream_id IN (
        SELECT x.account_id FROM app.sp_reconcile_find() AS x
        UNION
        SELECT b.account_id FROM app.recon_breaks AS b WHERE b.state IN ('suspected', 'open')
    )
    ORDER BY s.stream_id
    FOR NO KEY UPDATE;

    FOR f IN SELECT x.* FROM app.sp_reconcile_find() AS x ORDER BY x.account_id LOOP
        INSERT INTO app.recon_breaks AS b (account_id, figure, subject, ours, theirs, seen_at)
        VALUES (f.account_id, f.figure, f.subject, f.ours, f.theirs, f.seen_at)
        ON CONFLICT (account_id, figure, subject) WHERE state IN ('suspected', 'open')
        DO UPDATE
        SET ours = excluded.ours, theirs = excluded.theirs, seen_at = excluded.seen_at,
            times = b.times + 1
        -- One report is one witness, however often it is read.
        WHERE b.seen_at < excluded.seen_at
        RETURNING b.* INTO v_break;
        IF FOUND AND v_break.state = 'suspected' AND v_break.times >= c_times THEN
            UPDATE app.recon_breaks AS b
            SET state = 'open'
            WHERE b.break_id = v_break.break_id
            RETURNING b.* INTO v_break;
            PERFORM app.sp_break_opened(v_break);
            RETURN QUERY SELECT to_jsonb(v_break);
        END IF;
    END LOOP;

    -- Gone are those whose account has reported anew, and otherwise; a break of an execution, when
    -- it is booked as the broker has it.
    FOR v_break IN
        SELECT b.*
        FROM app.recon_breaks AS b
        JOIN app.sp_reconcile_reports() AS r
            ON r.account_id = b.account_id AND r.seen_at > b.seen_at
        WHERE b.state IN ('suspected', 'open')
            AND CASE b.figure
                WHEN 'execution' THEN EXISTS (
                    SELECT FROM app.executions AS e
                    WHERE (e.account_id, e.exec_base) = (b.account_id, b.subject)
                        AND e.kind <> 'bust'
                        AND e.quantity * e.price = b.theirs
                        AND NOT EXISTS (
                            SELECT FROM app.executions AS c WHERE c.corrects = e.execution_id
                        )
                )
                ELSE NOT EXISTS (
                    SELECT FROM app.sp_reconcile_find() AS x
                    WHERE (x.account_id, x.figure, x.subject)
                        = (b.account_id, b.figure, b.subject)
                )
            END
    LOOP
        IF v_break.state = 'suspected' THEN
            DELETE FROM app.recon_breaks AS b WHERE b.break_id = v_break.break_id;
            CONTINUE;
        END IF;
        UPDATE app.recon_breaks AS b
        SET state = 'mended', ended_at = clock_timestamp()
        WHERE b.break_id = v_break.break_id
        RETURNING b.* INTO v_break;
        PERFORM app.sp_audit_append(
            v_break.account_id, c_actor, 'recon.mended',
            jsonb_build_object('break_id', v_break.break_id)
        );
        RETURN QUERY SELECT to_jsonb(v_break);
    END LOOP;
END
$$;
