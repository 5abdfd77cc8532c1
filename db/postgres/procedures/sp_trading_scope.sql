-- sp_trading_scope(user, role, scope, scope id, state) -> the stream that records the switch
-- Says whether the user may set that state there; see sp_trading_state_set. Internal.

CREATE OR REPLACE FUNCTION app.sp_trading_scope(
    p_user_id uuid, p_role text, p_scope text, p_scope_id bigint, p_state text
) RETURNS bigint
LANGUAGE plpgsql
STABLE
AS $$
DECLARE
    v_account_id bigint;
    v_can_trade boolean;
BEGIN
    IF p_role = 'viewer' OR (p_role <> 'admin' AND (p_scope = 'global' OR p_state <> 'halted')) THEN
        RAISE EXCEPTION 'a % may not do this', p_role
            USING ERRCODE = 'IN403', DETAIL = 'role_not_allowed';
    END IF;
    v_account_id := app.sp_trading_stream(p_scope, p_scope_id);
    IF v_account_id = 0 THEN
        RETURN 0;
    END IF;
    SELECT m.can_trade INTO v_can_trade FROM app.account_members AS m
    WHERE m.account_id = v_account_id AND m.user_id = p_user_id;
    -- What he is no member of does not exist for him.
    IF v_account_id IS NULL OR (p_role <> 'admin' AND v_can_trade IS NULL) THEN
        RAISE EXCEPTION 'no % %', p_scope, p_scope_id
            USING ERRCODE = 'IN404', DETAIL = p_scope || '_not_found';
    END IF;
    IF p_role <> 'admin' AND NOT v_can_trade THEN
        RAISE EXCEPTION 'user % may only look at account %', p_user_id, v_account_id
            USING ERRCODE = 'IN403', DETAIL = 'not_allowed_to_trade';
    END IF;
    RETURN v_account_id;
END
$$;
