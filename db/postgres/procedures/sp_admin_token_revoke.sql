-- sp_admin_token_revoke(user, session, request id, token) -> nothing
-- Ends a service token for every procedure at once; repeating it changes nothing. Audited on
-- stream 0. Authority is looked at before and after the wait for the lock. SQLSTATE IN401, IN403 as
-- sp_authorize_admin; IN404 token_not_found; IN422 request_id_invalid. Called by app_write.
-- Test: test_api_service_tokens.py

CREATE OR REPLACE FUNCTION app.sp_admin_token_revoke(
    p_user_id uuid, p_session text, p_request_id text, p_token_id bigint
)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    IF NOT EXISTS (
        SELECT FROM security.service_tokens AS k WHERE k.token_id = p_token_id
    ) THEN
        RAISE EXCEPTION 'there is no such service token'
            USING ERRCODE = 'IN404', DETAIL = 'token_not_found';
    END IF;
    UPDATE security.service_tokens AS k
    SET revoked_at = clock_timestamp()
    WHERE k.token_id = p_token_id AND k.revoked_at IS NULL;
    IF FOUND THEN
        PERFORM app.sp_audit_append(0, v_actor, 'token.revoke', jsonb_build_object(
            'token_id', p_token_id, 'request_id', p_request_id
        ));
    END IF;
END
$$;
