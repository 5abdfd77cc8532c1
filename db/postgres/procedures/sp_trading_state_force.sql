-- sp_trading_state_force(actor, scope, scope id, state, reason, cancel open) -> the state
-- sp_trading_state_set for operators at the database, when the API is down: no user, no session.
-- IN404 account_not_found, strategy_not_found; IN422 scope_invalid, state_invalid, reason_invalid,
-- cancel_open_invalid. Called by app_migrate. Test: test_sp_kill_switch.py

CREATE OR REPLACE FUNCTION app.sp_trading_state_force(
    p_actor text, p_scope text, p_scope_id bigint, p_state text, p_reason text,
    p_cancel_open boolean DEFAULT FALSE
) RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_stream_id bigint;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_trading_check(p_scope, p_state, p_reason, p_cancel_open);
    v_stream_id := app.sp_trading_stream(p_scope, p_scope_id);
    IF v_stream_id IS NULL THEN
        RAISE EXCEPTION 'no % %', p_scope, p_scope_id
            USING ERRCODE = 'IN404', DETAIL = p_scope || '_not_found';
    END IF;
    PERFORM app.sp_trading_lock(v_stream_id, p_cancel_open);
    PERFORM app.sp_trading_switch(
        p_actor, 'operator', v_stream_id, p_scope, p_scope_id, p_state, p_reason, p_cancel_open
    );
    RETURN p_state;
END
$$;
