-- sp_token_fault(user, session, scope, account) -> the code of the refusal, or null
-- Whether a service token may do this now: a living one of this user with the scope, which covers
-- the account where one is named. Without a scope no program is let in.
-- Internal: sp_authorize, sp_trade_fault. Test: test_sp_service_tokens.py

CREATE OR REPLACE FUNCTION app.sp_token_fault(
    p_user_id uuid, p_session text, p_scope text, p_account_id bigint DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    v_ended text := app.sp_token_ended(p_user_id, p_session);
BEGIN
    RETURN CASE
        WHEN v_ended IS NOT NULL THEN v_ended
        WHEN p_scope IS NULL OR NOT EXISTS (
            SELECT FROM security.service_tokens AS k
            WHERE k.token_id = substr(p_session, 7)::bigint AND p_scope = ANY (k.scopes)
        ) THEN 'scope_not_allowed'
        -- What the token does not cover does not exist for it.
        WHEN p_account_id IS NOT NULL AND NOT app.sp_session_covers(p_session, p_account_id)
            THEN 'account_not_found'
    END;
END
$$;
