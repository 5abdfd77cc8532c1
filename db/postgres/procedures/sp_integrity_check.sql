-- sp_integrity_check(actor, after account, accounts at most) -> checked_to, breaks
-- Checks the figures of the next accounts by sp_integrity_find, at most 1,000 breaks of them at
-- once. What does not agree stands in app.integrity_breaks for as long as that is so, and comes and
-- goes with an audit row on stream 0; nothing is put right by itself. Called again with checked_to,
-- which is null when no account was left, until all have been.
-- IN422 accounts_max_invalid. Called by app_worker, app_migrate. Test: test_sp_integrity.py

CREATE OR REPLACE FUNCTION app.sp_integrity_check(
    p_actor text, p_after_account_id bigint, p_accounts_max integer,
    OUT checked_to bigint, OUT breaks jsonb
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_account_ids bigint[];
    v_came jsonb;
    v_went jsonb;
BEGIN
    PERFORM app.sp_require_read_committed();
    IF (p_accounts_max BETWEEN 1 AND 1000) IS NOT TRUE THEN
        RAISE EXCEPTION 'from 1 to 1,000 accounts are checked at once'
            USING ERRCODE = 'IN422', DETAIL = 'accounts_max_invalid';
    END IF;
    v_account_ids := ARRAY(
        SELECT a.account_id FROM app.accounts AS a
        WHERE a.account_id > coalesce(p_after_account_id, 0)
        ORDER BY a.account_id
        LIMIT p_accounts_max
    );
    checked_to := v_account_ids[cardinality(v_account_ids)];
    SELECT coalesce(jsonb_agg(to_jsonb(f)), '[]') INTO breaks
    FROM (SELECT x.* FROM app.sp_integrity_find(v_account_ids) AS x LIMIT 1000) AS f;
    IF breaks = '[]' AND NOT EXISTS (
        SELECT FROM app.integrity_breaks AS b WHERE b.account_id = ANY (v_account_ids)
    ) THEN
        RETURN;
    END IF;

    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    WITH came AS (
        INSERT INTO app.integrity_breaks AS t (account_id, figure, subject, ours, expected)
        SELECT f.account_id, f.figure, f.subject, f.ours, f.expected
        FROM jsonb_to_recordset(breaks)
            AS f (account_id bigint, figure text, subject text, ours numeric, expected numeric)
        ON CONFLICT (account_id, figure, subject) DO UPDATE
        SET ours = excluded.ours, expected = excluded.expected
        WHERE (t.ours, t.expected) <> (excluded.ours, excluded.expected)
        RETURNING t.account_id, t.figure, t.subject, t.ours, t.expected
    )
    SELECT jsonb_agg(to_jsonb(c)) INTO v_came FROM came AS c;
    WITH went AS (
        DELETE FROM app.integrity_breaks AS t
        WHERE t.account_id = ANY (v_account_ids)
            AND NOT EXISTS (
                SELECT FROM jsonb_to_recordset(breaks)
                    AS f (account_id bigint, figure text, subject text)
                WHERE (f.account_id, f.figure, f.subject) = (t.account_id, t.figure, t.subject)
            )
        RETURNING t.account_id, t.figure, t.subject
    )
    SELECT jsonb_agg(to_jsonb(w)) INTO v_went FROM went AS w;
    IF v_came IS NOT NULL THEN
        PERFORM app.sp_audit_append(
            0, p_actor, 'integrity.break', jsonb_build_object('breaks', v_came)
        );
    END IF;
    IF v_went IS NOT NULL THEN
        PERFORM app.sp_audit_append(
            0, p_actor, 'integrity.mended', jsonb_build_object('breaks', v_went)
        );
    END IF;
END
$$;
