-- sp_account_fault(user, session, account) -> the code of the refusal, or null
-- Whether the user may cancel on the account now: as sp_trade_fault, but an admin may everywhere
-- that the session covers.
-- Internal: sp_cancel_all. Test: test_sp_cancel_all.py

CREATE OR REPLACE FUNCTION app.sp_account_fault(
    p_user_id uuid, p_session text, p_account_id bigint
)
RETURNS text
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    v_fault text := app.sp_trade_fault(p_user_id, p_session, p_account_id);
BEGIN
    IF v_fault IN ('account_not_found', 'not_allowed_to_trade') AND EXISTS (
        SELECT FROM app.users AS u WHERE u.user_id = p_user_id AND u.role = 'admin'
    ) AND EXISTS (
        SELECT FROM app.accounts AS a WHERE a.account_id = p_account_id
    ) AND app.sp_session_covers(p_session, p_account_id) THEN
        RETURN NULL;
    END IF;
    RETURN v_fault;
END
$$;
