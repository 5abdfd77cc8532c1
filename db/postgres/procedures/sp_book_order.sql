-- sp_book_order(order, corrected, actor) -> nothing
-- Makes cum_quantity and average_price of an order from its executions that hold. What comes to an
-- order that was over is flagged as late, what was corrected or busted as corrected, and more than
-- was ordered as overfill, which the audit log tells by itself as well.
-- Internal: sp_book_execution, sp_book_change. Test: test_sp_events.py, test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_book_order(
    p_order_id bigint, p_corrected boolean, p_actor text
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
BEGIN
    UPDATE app.orders AS o
    SET
        cum_quantity = coalesce(f.quantity, 0),
        average_price = trim_scale(f.value / f.quantity),
        late_fill = o.late_fill OR (
            NOT p_corrected
            AND o.status IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        ),
        overfill = o.overfill OR coalesce(f.quantity > o.quantity, FALSE),
        corrected = o.corrected OR p_corrected,
        updated_at = clock_timestamp()
    FROM (
        SELECT sum(x.quantity) AS quantity, sum(x.quantity * x.price) AS value
        FROM app.executions AS x
        WHERE x.order_id = p_order_id
            AND x.kind <> 'bust'
            AND NOT EXISTS (SELECT FROM app.executions AS c WHERE c.corrects = x.execution_id)
    ) AS f
    WHERE o.order_id = p_order_id
    RETURNING o.* INTO STRICT v_order;
    IF v_order.cum_quantity > v_order.quantity THEN
        PERFORM app.sp_audit_append(
            v_order.account_id, p_actor, 'order.overfill', jsonb_build_object(
                'order_id', p_order_id, 'client_order_id', v_order.client_order_id,
                'quantity', v_order.quantity, 'cum_quantity', v_order.cum_quantity,
                'overfill', v_order.cum_quantity - v_order.quantity
            )
        );
    END IF;
END
$$;
