-- sp_risk_check(order row) -> (reason_code, quantity_max)
-- The first risk rule the order breaks now, or null: the rules of sp_risk_decide on the facts of
-- sp_risk_facts, the order itself left out of them. It is one of the open ones and was counted in
-- the rates, so these are not asked again. Writes nothing; a caller that acts on the
-- answer holds the stream lock of the account.
-- Called by sp_replace_check and, right before the wire, by sp_begin_send; placing and the preview
-- use the same two routines. Test: test_sp_risk.py, test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_risk_check(
    p_order app.orders, OUT reason_code text, OUT quantity_max numeric
)
LANGUAGE plpgsql
AS $$
BEGIN
    FOR v_care IN 0..2 LOOP
        SELECT d.reason_code, d.quantity_max
        INTO reason_code, quantity_max
        FROM app.sp_risk_decide(
            p_order.side, p_order.quantity, p_order.cum_quantity, p_order.limit_price,
            p_order.stop_price,
            app.sp_risk_facts(
                p_order.account_id, p_order.instrument_id, p_order.strategy_id,
                p_order.order_type, p_order.time_in_force, p_order.order_id, v_care
            ),
            0, 0, 0, 0
        ) AS d;
        EXIT WHEN reason_code IS NULL;
    END LOOP;
END
$$;
