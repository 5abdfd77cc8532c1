-- sp_cancel_open(account, strategy, actor, request id, reason) -> how many orders
-- Cancels, or owes a cancel for, every open order of the account, or of one strategy on it: those
-- counted were not on that way before. The caller holds the stream lock.
-- Internal: sp_cancel_all, sp_trading_state_set. Test: test_sp_cancel_all.py

CREATE OR REPLACE FUNCTION app.sp_cancel_open(
    p_account_id bigint, p_strategy_id bigint, p_actor text, p_request_id text,
    p_reason_code text DEFAULT NULL
)
RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_count integer := 0;
BEGIN
    FOR v_order IN
        SELECT o.*
        FROM app.orders AS o
        WHERE o.account_id = p_account_id
            AND (p_strategy_id IS NULL OR o.strategy_id = p_strategy_id)
            AND o.status NOT IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        ORDER BY o.order_id
    LOOP
        IF app.sp_order_cancel(v_order, p_actor, p_request_id, p_reason_code) THEN
            v_count := v_count + 1;
        END IF;
    END LOOP;
    RETURN v_count;
END
$$;
