-- sp_book_order(order, corrected) -> nothing
-- Makes cum_quantity and average_price of an order from its executions that hold. What comes to an
-- order that was over is flagged as late, what was corrected or busted as corrected.
-- Internal: sp_book_execution, sp_book_change. Test: test_sp_events.py, test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_book_order(p_order_id bigint, p_corrected boolean)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE app.orders AS o
    SET
        cum_quantity = coalesce(f.quantity, 0),
        average_price = trim_scale(f.value / f.quantity),
        late_fill = o.late_fill OR (
            NOT p_corrected
            AND o.status IN ('denied', 'filled', 'canceled', 'rejected', 'expired')
        ),
        corrected = o.corrected OR p_corrected,
        updated_at = clock_timestamp()
    FROM (
        SELECT sum(x.quantity) AS quantity, sum(x.quantity * x.price) AS value
        FROM app.executions AS x
        WHERE x.order_id = p_order_id
            AND x.kind <> 'bust'
            AND NOT EXISTS (SELECT FROM app.executions AS c WHERE c.corrects = x.execution_id)
    ) AS f
    WHERE o.order_id = p_order_id;
END
$$;
