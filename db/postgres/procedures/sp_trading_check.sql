-- sp_trading_check(scope, state, reason, cancel open) -> nothing
-- IN422 scope_invalid, state_invalid, reason_invalid, and cancel_open_invalid for orders canceled
-- while trading goes on. Internal: sp_trading_state_set, sp_trading_state_force.

CREATE OR REPLACE FUNCTION app.sp_trading_check(
    p_scope text, p_state text, p_reason text, p_cancel_open boolean
)
RETURNS void
LANGUAGE plpgsql
IMMUTABLE
AS $$
BEGIN
    PERFORM app.sp_require_text(p_scope, '^(global|account|strategy)$', 'scope');
    PERFORM app.sp_require_text(p_state, '^(active|reducing|halted)$', 'state');
    PERFORM app.sp_require_text(p_reason, '^.{1,200}$', 'reason');
    IF p_cancel_open IS NULL OR (p_cancel_open AND p_state = 'active') THEN
        RAISE EXCEPTION 'open orders are canceled where trading is halted or reduced'
            USING ERRCODE = 'IN422', DETAIL = 'cancel_open_invalid';
    END IF;
END
$$;
