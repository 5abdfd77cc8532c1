-- sp_session_covers(session, account) -> whether it may name the account at all
-- A person's session covers every account of the person, a service token those it was made for.
-- Internal: sp_token_fault, sp_account_fault, sp_authorize_cancel, sp_order_status.
-- Test: test_sp_service_tokens.py

CREATE OR REPLACE FUNCTION app.sp_session_covers(p_session text, p_account_id bigint)
RETURNS boolean
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    RETURN CASE
        WHEN NOT starts_with(p_session, 'token:') THEN TRUE
        WHEN p_session ~ '^token:[1-9][0-9]{0,17}$' THEN EXISTS (
            SELECT FROM security.service_tokens AS k
            WHERE k.token_id = substr(p_session, 7)::bigint AND p_account_id = ANY (k.account_ids)
        )
        ELSE FALSE
    END;
END
$$;
