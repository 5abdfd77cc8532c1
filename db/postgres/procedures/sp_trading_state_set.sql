-- sp_trading_state_set(user, session, request, scope, scope id, state, reason) -> the state
-- Halts, reduces or resumes trading: for everyone (scope `global`, id 0), an account or a strategy.
-- A trader may halt what belongs to an account where he can trade; an administrator may do all.
-- Repeating it changes nothing; audited on the account's stream, for `global` on stream 0.
-- IN401 of sp_authorize; IN403 role_not_allowed, not_allowed_to_trade;
-- IN404 account_not_found, strategy_not_found; IN422 scope_invalid, state_invalid, reason_invalid.
-- Callers: app_write.

CREATE OR REPLACE FUNCTION app.sp_trading_state_set(
    p_user_id uuid, p_session text, p_request_id text, p_scope text, p_scope_id bigint,
    p_state text, p_reason text
) RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role text;
    v_stream_id bigint;
    v_before app.trading_states;
BEGIN
    PERFORM app.sp_require_read_committed();
    v_role := app.sp_authorize(p_user_id, p_session);
    PERFORM app.sp_require_text(p_scope, '^(global|account|strategy)$', 'scope');
    PERFORM app.sp_require_text(p_state, '^(active|reducing|halted)$', 'state');
    PERFORM app.sp_require_text(p_reason, '^.{1,200}$', 'reason');
    v_stream_id := app.sp_trading_scope(p_user_id, v_role, p_scope, p_scope_id, p_state);

    PERFORM FROM app.streams AS s WHERE s.stream_id = v_stream_id FOR NO KEY UPDATE;
    -- Again under the lock: what was true before may have been taken away meanwhile.
    v_role := app.sp_authorize(p_user_id, p_session);
    PERFORM app.sp_trading_scope(p_user_id, v_role, p_scope, p_scope_id, p_state);
    SELECT t.* INTO v_before FROM app.trading_states AS t
    WHERE t.scope = p_scope AND t.scope_id = p_scope_id;
    IF coalesce(v_before.state, 'active') = p_state THEN
        RETURN p_state;
    END IF;

    INSERT INTO app.trading_states (scope, scope_id, state, reason, changed_by)
    VALUES (p_scope, p_scope_id, p_state, p_reason, 'user:' || p_user_id)
    ON CONFLICT (scope, scope_id) DO UPDATE
    SET state = excluded.state, reason = excluded.reason, changed_by = excluded.changed_by,
        changed_at = clock_timestamp();
    PERFORM app.sp_audit_append(
        v_stream_id, 'user:' || p_user_id, 'trading_state.set', jsonb_build_object(
            'scope', p_scope,
            'scope_id', p_scope_id,
            'state_before', coalesce(v_before.state, 'active'),
            'state', p_state,
            'reason', p_reason,
            'request_id', p_request_id
        )
    );
    RETURN p_state;
END
$$;
