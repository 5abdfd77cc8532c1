-- sp_authorize_trade(user, session, account) -> nothing
-- Passes traders and admins who are members of the account with the right to trade. An account
-- without this member does not exist for the caller.
-- SQLSTATE IN401 as sp_authorize; IN403 role_not_allowed, not_allowed_to_trade; IN404
-- account_not_found; IN422 account_id_invalid. Internal: sp_place_order, sp_preview_order.
-- Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_authorize_trade(
    p_user_id uuid, p_session text, p_account_id bigint
)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_can_trade boolean;
BEGIN
    IF app.sp_authorize(p_user_id, p_session) NOT IN ('trader', 'admin') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN403', DETAIL = 'role_not_allowed', MESSAGE = 'this role may not trade';
    END IF;
    PERFORM app.sp_require_text(p_account_id::text, '^', 'account_id');
    SELECT m.can_trade INTO v_can_trade
    FROM app.account_members AS m
    WHERE m.account_id = p_account_id AND m.user_id = p_user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN404', DETAIL = 'account_not_found', MESSAGE = 'there is no such account';
    END IF;
    IF NOT v_can_trade THEN
        RAISE EXCEPTION USING
            ERRCODE = 'IN403', DETAIL = 'not_allowed_to_trade',
            MESSAGE = 'this member may look at the account but not trade on it';
    END IF;
END
$$;
