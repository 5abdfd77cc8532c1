-- sp_trading_switch(actor, request, stream, scope, scope id, state, reason, cancel open) -> nothing
-- Sets a trading state and cancels what is open in its scope; see sp_trading_state_set. The caller
-- holds the locks. Internal: sp_trading_state_set, sp_trading_state_force.

CREATE OR REPLACE FUNCTION app.sp_trading_switch(
    p_actor text, p_request_id text, p_stream_id bigint, p_scope text, p_scope_id bigint,
    p_state text, p_reason text, p_cancel_open boolean
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_before text := (
        SELECT t.state FROM app.trading_states AS t
        WHERE t.scope = p_scope AND t.scope_id = p_scope_id
    );
    v_detail jsonb := jsonb_strip_nulls(jsonb_build_object(
        'scope', p_scope, 'scope_id', p_scope_id, 'state', p_state, 'reason', p_reason,
        'request_id', p_request_id
    ));
    v_account_id bigint;
    v_canceled integer;
BEGIN
    IF coalesce(v_before, 'active') <> p_state THEN
        INSERT INTO app.trading_states (scope, scope_id, state, reason, changed_by)
        VALUES (p_scope, p_scope_id, p_state, p_reason, p_actor)
        ON CONFLICT (scope, scope_id) DO UPDATE
        SET state = excluded.state, reason = excluded.reason, changed_by = excluded.changed_by,
            changed_at = clock_timestamp();
        PERFORM app.sp_audit_append(
            p_stream_id, p_actor, 'trading_state.set',
            v_detail || jsonb_build_object('state_before', coalesce(v_before, 'active'))
        );
        PERFORM app.sp_notify('halt', nullif(p_stream_id, 0), jsonb_build_object(
            'scope', p_scope, 'state', p_state, 'reason', p_reason
        ));
    END IF;
    IF NOT p_cancel_open THEN
        RETURN;
    END IF;
    FOR v_account_id IN
        SELECT a.account_id FROM app.accounts AS a
        WHERE (p_stream_id IN (0, a.account_id)) AND EXISTS (
            SELECT FROM app.orders AS o
            WHERE o.account_id = a.account_id
                AND o.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        )
        ORDER BY a.account_id
    LOOP
        v_canceled := app.sp_cancel_open(
            v_account_id, CASE p_scope WHEN 'strategy' THEN p_scope_id END, p_actor, p_request_id,
            CASE p_state WHEN 'halted' THEN 'TRADING_HALTED' ELSE 'TRADING_REDUCING' END
        );
        IF v_canceled > 0 THEN
            PERFORM app.sp_audit_append(
                v_account_id, p_actor, 'trading_state.cancel_open',
                v_detail || jsonb_build_object('canceled', v_canceled)
            );
        END IF;
    END LOOP;
END
$$;
