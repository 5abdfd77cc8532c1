-- sp_token_ended(user, session) -> the code of the refusal, or null
-- Whether the service token named in the session `token:ID` is no living one of this user.
-- Internal: sp_token_fault, sp_session_check. Test: test_sp_service_tokens.py

CREATE OR REPLACE FUNCTION app.sp_token_ended(p_user_id uuid, p_session text)
RETURNS text
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    v_token security.service_tokens;
BEGIN
    IF p_session ~ '^token:[1-9][0-9]{0,17}$' THEN
        SELECT k.* INTO v_token
        FROM security.service_tokens AS k
        WHERE k.token_id = substr(p_session, 7)::bigint AND k.user_id = p_user_id;
    END IF;
    RETURN CASE
        WHEN v_token.token_id IS NULL THEN 'service_token_invalid'
        WHEN v_token.revoked_at IS NOT NULL THEN 'service_token_revoked'
        WHEN v_token.expires_at <= clock_timestamp() THEN 'service_token_expired'
    END;
END
$$;
