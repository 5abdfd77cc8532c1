-- sp_admin_resolve_break(user, session, request id, break, reason) -> nothing
-- An administrator has looked into an open break and says what it was. It is seen anew, as another
-- one, should it last. The account stays as it was switched: resuming is a decision of its own.
-- Repeating it changes nothing. Audited on the account's stream.
-- SQLSTATE IN401, IN403 as sp_authorize_admin; IN404 break_not_found; IN409 break_not_open; IN422
-- reason_invalid, request_id_invalid. Called by app_write. Test: test_sp_reconcile.py

CREATE OR REPLACE FUNCTION app.sp_admin_resolve_break(
    p_user_id uuid, p_session text, p_request_id text, p_break_id bigint, p_reason text
)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    v_break app.recon_breaks;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_reason, '^[^[:cntrl:]]{1,200}$', 'reason');
    SELECT b.* INTO v_break FROM app.recon_breaks AS b WHERE b.break_id = p_break_id;
    PERFORM FROM app.streams AS s WHERE s.stream_id = v_break.account_id FOR NO KEY UPDATE;
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    SELECT b.* INTO v_break FROM app.recon_breaks AS b WHERE b.break_id = p_break_id;
    IF v_break.break_id IS NULL THEN
        RAISE EXCEPTION 'no such break' USING ERRCODE = 'IN404', DETAIL = 'break_not_found';
    ELSIF v_break.state = 'resolved' THEN
        RETURN;
    ELSIF v_break.state <> 'open' THEN
        RAISE EXCEPTION 'this break is not open'
            USING ERRCODE = 'IN409', DETAIL = 'break_not_open';
    END IF;
    UPDATE app.recon_breaks AS b
    SET state = 'resolved', ended_at = clock_timestamp(), resolved_by = v_actor,
        reason = p_reason
    WHERE b.break_id = p_break_id;
    PERFORM app.sp_audit_append(v_break.account_id, v_actor, 'recon.resolve', jsonb_build_object(
        'break_id', p_break_id, 'reason', p_reason, 'request_id', p_request_id
    ));
END
$$;
