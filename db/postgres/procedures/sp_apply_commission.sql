-- sp_apply_commission(order, actor, event) -> applied, or why not
-- The fee of an execution: {exec_id, fee, fee_currency?}. One that comes before its execution is
-- kept and counts with it.
-- Internal: sp_apply_event, sp_book_execution. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_apply_commission(p_order_id bigint, p_actor text, p_event jsonb)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_fill app.executions;
    v_fee numeric := app.sp_wire_number(p_event ->> 'fee');
BEGIN
    IF (
        p_event ->> 'exec_id' ~ '^.{1,200}$' AND v_fee >= 0
        AND coalesce(p_event ->> 'fee_currency', 'USD') ~ '^[A-Z]{3}$'
    ) IS NOT TRUE THEN
        RETURN 'invalid';
    END IF;
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    v_fill := app.sp_execution_current(
        v_order.account_id, regexp_replace(p_actor, '^broker:', ''), p_event ->> 'exec_id'
    );
    IF v_fill.execution_id IS NULL THEN
        RETURN 'absent';
    ELSIF v_fill.order_id <> p_order_id THEN
        RETURN 'conflict';
    ELSIF v_fill.kind = 'bust' THEN
        RETURN 'busted';
    END IF;
    RETURN app.sp_book_fee(
        v_fill, v_fee, coalesce(p_event ->> 'fee_currency', v_fill.currency), p_actor
    );
END
$$;
