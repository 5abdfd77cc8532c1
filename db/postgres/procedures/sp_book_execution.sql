-- sp_book_execution(order, actor, fill) -> applied, duplicate, conflict, overfill or invalid
-- Books one execution {exec_id, quantity, price, fee?, fee_currency?, executed_at} once: the row,
-- the order's cum_quantity and average_price, position, cash, audit. A known id with other content
-- is a conflict; more than the order has left is an overfill; neither is booked, so cum_quantity
-- never exceeds quantity, and both are in the audit log in full. A fill of an order that was over
-- is booked and flagged.
-- Internal. Test: test_sp_events.py, test_sp_positions.py

CREATE OR REPLACE FUNCTION app.sp_book_execution(p_order_id bigint, p_actor text, p_fill jsonb)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_order app.orders;
    v_fill app.executions;
    v_source text := regexp_replace(p_actor, '^broker:', '');
    v_exec_id text;
    v_quantity numeric;
    v_price numeric;
    v_currency text;
    v_fee numeric;
    v_fee_currency text;
    v_executed_at timestamptz;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    SELECT i.currency INTO STRICT v_currency
    FROM app.instruments AS i
    WHERE i.instrument_id = v_order.instrument_id;
    v_exec_id := p_fill ->> 'exec_id';
    v_quantity := app.sp_wire_number(p_fill ->> 'quantity');
    v_price := app.sp_wire_number(p_fill ->> 'price');
    v_fee := app.sp_wire_number(coalesce(p_fill ->> 'fee', '0'));
    v_fee_currency := coalesce(p_fill ->> 'fee_currency', v_currency);
    v_executed_at := app.sp_wire_time(p_fill ->> 'executed_at');
    IF (
        v_exec_id ~ '^.{1,200}$' AND v_quantity > 0 AND scale(v_quantity) <= 8 AND v_price > 0
        AND v_fee >= 0 AND v_fee_currency ~ '^[A-Z]{3}$' AND v_executed_at IS NOT NULL
    ) IS NOT TRUE THEN
        RETURN 'invalid';
    END IF;

    SELECT x.* INTO v_fill
    FROM app.executions AS x
    WHERE x.account_id = v_order.account_id
        AND x.source = v_source
        AND x.exec_base = v_exec_id
        AND x.exec_revision = 0;
    IF FOUND THEN
        RETURN CASE
            WHEN (v_fill.order_id, v_fill.quantity, v_fill.price)
                = (p_order_id, v_quantity, v_price) THEN 'duplicate'
            ELSE 'conflict'
        END;
    END IF;
    IF v_order.cum_quantity + v_quantity > v_order.quantity THEN
        RETURN 'overfill';
    END IF;

    INSERT INTO app.executions (
        order_id, account_id, instrument_id, source, exec_base, side, quantity, price, currency,
        fee, fee_currency, executed_at
    )
    VALUES (
        p_order_id, v_order.account_id, v_order.instrument_id, v_source, v_exec_id, v_order.side,
        v_quantity, v_price, v_currency, v_fee, v_fee_currency, v_executed_at
    )
    RETURNING * INTO v_fill;
    UPDATE app.orders AS o
    SET
        cum_quantity = f.quantity,
        average_price = trim_scale(f.value / f.quantity),
        late_fill = o.late_fill
        OR o.status IN ('denied', 'filled', 'canceled', 'rejected', 'expired'),
        updated_at = clock_timestamp()
    FROM (
        SELECT sum(x.quantity) AS quantity, sum(x.quantity * x.price) AS value
        FROM app.executions AS x
        WHERE x.order_id = p_order_id
    ) AS f
    WHERE o.order_id = p_order_id
    RETURNING o.* INTO v_order;
    PERFORM app.sp_book_position(v_fill);
    PERFORM app.sp_book_cash(v_fill);
    PERFORM app.sp_audit_append(v_order.account_id, p_actor, 'execution.book', jsonb_build_object(
        'execution_id', v_fill.execution_id, 'order_id', p_order_id, 'exec_id', v_fill.exec_base,
        'side', v_fill.side, 'quantity', v_fill.quantity, 'price', v_fill.price,
        'fee', v_fill.fee, 'fee_currency', v_fill.fee_currency,
        'cum_quantity', v_order.cum_quantity, 'late', v_order.late_fill
    ));
    RETURN 'applied';
END
$$;
