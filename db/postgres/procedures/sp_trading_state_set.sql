-- sp_trading_state_set(user, session, request, scope, scope id, state, reason, cancel open)
--                    -> the state
-- Halts, reduces or resumes trading: for everyone (scope `global`, id 0), an account or a strategy.
-- A trader may halt what belongs to an account where he can trade; an administrator may do all.
-- With `cancel open` every open order of the scope is canceled or owed a cancel in the same
-- transaction. That can take seconds for thousands of orders: who must stop trading at once calls
-- it without first. Repeating it changes nothing but what is open again; audited on every stream
-- that it touches, the switch of `global` on stream 0.
-- IN401 of sp_authorize; IN403 role_not_allowed, not_allowed_to_trade;
-- IN404 account_not_found, strategy_not_found; IN422 scope_invalid, state_invalid, reason_invalid,
-- cancel_open_invalid. Called by app_write. Test: test_sp_trading_state.py, test_sp_kill_switch.py

CREATE OR REPLACE FUNCTION app.sp_trading_state_set(
    p_user_id uuid, p_session text, p_request_id text, p_scope text, p_scope_id bigint,
    p_state text, p_reason text, p_cancel_open boolean DEFAULT FALSE
) RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role text;
    v_stream_id bigint;
BEGIN
    PERFORM app.sp_require_read_committed();
    v_role := app.sp_authorize(p_user_id, p_session);
    PERFORM app.sp_trading_check(p_scope, p_state, p_reason, p_cancel_open);
    v_stream_id := app.sp_trading_scope(p_user_id, v_role, p_scope, p_scope_id, p_state);

    PERFORM app.sp_trading_lock(v_stream_id, p_cancel_open);
    -- Again under the lock: what was true before may have been taken away meanwhile.
    v_role := app.sp_authorize(p_user_id, p_session);
    PERFORM app.sp_trading_scope(p_user_id, v_role, p_scope, p_scope_id, p_state);
    PERFORM app.sp_trading_switch(
        'user:' || p_user_id, p_request_id, v_stream_id, p_scope, p_scope_id, p_state, p_reason,
        p_cancel_open
    );
    RETURN p_state;
END
$$;
