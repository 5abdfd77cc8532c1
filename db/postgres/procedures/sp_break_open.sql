-- sp_break_open(account, figure, subject, ours, theirs) -> nothing
-- Opens a break at once, for what needs no second report to be sure; one that is known to be open,
-- or was ended with the same two figures, stays as it is. The caller holds the stream lock.
-- Internal: sp_apply_broker_event, sp_executions_listed. Test: test_sp_executions_listed.py

CREATE OR REPLACE FUNCTION app.sp_break_open(
    p_account_id bigint, p_figure text, p_subject text, p_ours numeric, p_theirs numeric
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_break app.recon_breaks;
BEGIN
    IF EXISTS (
        SELECT FROM app.recon_breaks AS b
        WHERE (b.account_id, b.figure, b.subject) = (p_account_id, p_figure, p_subject)
            AND (b.state IN ('suspected', 'open') OR (b.ours, b.theirs) = (p_ours, p_theirs))
    ) THEN
        RETURN;
    END IF;
    INSERT INTO app.recon_breaks (account_id, figure, subject, ours, theirs, state, seen_at)
    VALUES (p_account_id, p_figure, p_subject, p_ours, p_theirs, 'open', clock_timestamp())
    RETURNING * INTO v_break;
    PERFORM app.sp_break_opened(v_break);
END
$$;
