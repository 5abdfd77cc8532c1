-- sp_outbox_release(actor, reason, unanswered too) -> how many rows were held
-- Ends a quarantine: what is still owed goes out again. Refused while anything waits for an answer,
-- unless the operator knows better; such a row is asked about, never sent blindly, afterwards too.
-- SQLSTATE 25001; IN409 outbox_not_quarantined, outbox_unanswered; IN422 reason_invalid.
-- Called by app_migrate. Test: test_sp_quarantine.py

CREATE OR REPLACE FUNCTION app.sp_outbox_release(
    p_actor text, p_reason text, p_unanswered_too boolean DEFAULT FALSE
)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now record;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_reason, '^.{1,200}$', 'reason');
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    SELECT u.* INTO v_now FROM app.sp_outbox_unanswered() AS u;
    IF v_now.quarantined_at IS NULL THEN
        RAISE EXCEPTION 'the outbox is not in quarantine'
            USING ERRCODE = 'IN409', DETAIL = 'outbox_not_quarantined';
    END IF;
    IF v_now.unanswered > 0 AND p_unanswered_too IS NOT TRUE THEN
        RAISE EXCEPTION '% rows wait for an answer of the broker', v_now.unanswered
            USING ERRCODE = 'IN409', DETAIL = 'outbox_unanswered';
    END IF;
    DELETE FROM app.outbox_quarantine;
    PERFORM app.sp_audit_append(
        0, p_actor, 'outbox.released',
        jsonb_build_object(
            'reason', p_reason, 'held', v_now.held, 'unanswered', v_now.unanswered
        )
    );
    RETURN v_now.held;
END
$$;
