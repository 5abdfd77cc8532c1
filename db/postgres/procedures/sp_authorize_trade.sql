-- sp_authorize_trade(user, session, account) -> nothing
-- Passes traders and admins who are members of the account with the right to trade. An account
-- without this member does not exist for the caller.
-- SQLSTATE IN401 as sp_authorize; IN403 role_not_allowed, not_allowed_to_trade; IN404
-- account_not_found; IN422 account_id_invalid. Internal: sp_preview_order.
-- Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_authorize_trade(
    p_user_id uuid, p_session text, p_account_id bigint
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_fault text := app.sp_trade_fault(p_user_id, p_session, p_account_id);
BEGIN
    IF v_fault IS NOT NULL THEN
        PERFORM app.sp_refuse(v_fault);
    END IF;
END
$$;
