-- sp_trading_stream(scope, scope id) -> the stream that records its switch, null if there is none
-- SQLSTATE IN422 scope_invalid. Internal: sp_trading_scope, sp_trading_state_force.

CREATE OR REPLACE FUNCTION app.sp_trading_stream(p_scope text, p_scope_id bigint)
RETURNS bigint
LANGUAGE plpgsql
STABLE
AS $$
BEGIN
    PERFORM app.sp_require_text(p_scope, '^(global|account|strategy)$', 'scope');
    IF p_scope = 'global' AND p_scope_id IS DISTINCT FROM 0 THEN
        RAISE EXCEPTION 'the global switch has the id 0'
            USING ERRCODE = 'IN422', DETAIL = 'scope_invalid';
    END IF;
    RETURN CASE p_scope
        WHEN 'global' THEN 0
        WHEN 'account' THEN (
            SELECT a.account_id FROM app.accounts AS a WHERE a.account_id = p_scope_id
        )
        ELSE (SELECT s.account_id FROM app.strategies AS s WHERE s.strategy_id = p_scope_id)
    END;
END
$$;
