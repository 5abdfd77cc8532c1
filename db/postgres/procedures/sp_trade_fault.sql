-- sp_trade_fault(user, session, account) -> the code of the refusal, or null
-- Whether the user may trade on the account now: a known, enabled user with a living session, a
-- trader or admin, member of the account with the right to trade. One look at what is committed; a
-- second one at the token, where a program asks.
-- Internal: sp_authorize_trade, the procedures of placing. Test: test_sp_place_order.py

CREATE OR REPLACE FUNCTION app.sp_trade_fault(p_user_id uuid, p_session text, p_account_id bigint)
RETURNS text
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    v_role text;
    v_disabled boolean;
    v_revoked boolean;
    v_can_trade boolean;
    v_token_fault text;
BEGIN
    SELECT
        u.role,
        u.disabled,
        EXISTS (SELECT FROM security.revoked_sessions AS r WHERE r.session_handle = p_session),
        m.can_trade
    INTO v_role, v_disabled, v_revoked, v_can_trade
    FROM app.users AS u
    LEFT JOIN app.account_members AS m
        ON m.user_id = u.user_id AND m.account_id = p_account_id
    WHERE u.user_id = p_user_id;
    IF starts_with(p_session, 'token:') THEN
        v_token_fault := app.sp_token_fault(p_user_id, p_session, 'orders:write', p_account_id);
    END IF;
    RETURN CASE
        WHEN v_role IS NULL THEN 'user_unknown'
        WHEN v_disabled THEN 'user_disabled'
        WHEN v_revoked OR p_session IS NULL THEN 'session_revoked'
        WHEN v_token_fault IS NOT NULL THEN v_token_fault
        WHEN v_role NOT IN ('trader', 'admin') THEN 'role_not_allowed'
        WHEN p_account_id IS NULL THEN 'account_id_invalid'
        -- An account without this member does not exist for him.
        WHEN v_can_trade IS NULL THEN 'account_not_found'
        WHEN NOT v_can_trade THEN 'not_allowed_to_trade'
    END;
END
$$;
