-- sp_book_execution(order, actor, fill)
--              -> applied, duplicate, conflict, busted or invalid
-- Books one execution, as sp_fill_parse reads it, once: the row, the order's cum_quantity and
-- average_price, position, cash, audit. A higher revision of a known one corrects it; a lower one
-- is old. A known one with other content is a conflict, not booked and in the audit log in full.
-- What only the order that a replace asks for can have, proves the replace. More than the order has
-- left is booked as any, since we own it, and flagged; so is a fill of an order that was over. A
-- bust or a fee that came before its execution counts.
-- Internal. Test: test_sp_events.py, test_sp_positions.py, test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_book_execution(p_order_id bigint, p_actor text, p_fill jsonb)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_known app.executions;
    v_fill app.executions;
    v_source text := regexp_replace(p_actor, '^broker:', '');
    v_currency text;
    v_cum numeric;
    f record;
    v_early record;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    SELECT i.currency INTO STRICT v_currency
    FROM app.instruments AS i
    WHERE i.instrument_id = v_order.instrument_id;
    SELECT p.* INTO f FROM app.sp_fill_parse(p_fill, v_currency) AS p;
    IF f.exec_id IS NULL THEN
        RETURN 'invalid';
    END IF;

    v_known := app.sp_execution_current(v_order.account_id, v_source, f.exec_id);
    v_cum := v_order.cum_quantity + f.quantity;
    IF v_known.execution_id IS NOT NULL THEN
        IF v_known.order_id <> p_order_id THEN
            RETURN 'conflict';
        ELSIF f.exec_revision < v_known.exec_revision THEN
            RETURN 'duplicate';
        ELSIF f.exec_revision = v_known.exec_revision THEN
            IF (v_known.quantity, v_known.price) <> (f.quantity, f.price) THEN
                RETURN 'conflict';
            ELSIF f.fee IS NULL OR v_known.fee IS NOT NULL OR v_known.kind = 'bust' THEN
                RETURN 'duplicate';
            END IF;
            RETURN app.sp_book_fee(v_known, f.fee, f.fee_currency, p_actor);
        END IF;
        v_cum := v_cum - CASE v_known.kind WHEN 'bust' THEN 0 ELSE v_known.quantity END;
    END IF;
    IF v_cum > v_order.quantity AND v_cum <= v_order.pending_quantity THEN
        PERFORM app.sp_order_change(
            p_order_id, p_actor, v_order.pending_quantity, v_order.pending_limit_price,
            v_order.pending_stop_price
        );
    END IF;
    IF v_known.execution_id IS NOT NULL THEN
        PERFORM app.sp_book_change(
            v_known, 'correction', f.exec_revision, 0, f.quantity, f.price,
            coalesce(f.fee, v_known.fee), CASE
                WHEN f.fee IS NULL THEN v_known.fee_currency
                ELSE f.fee_currency
            END, f.executed_at, p_actor
        );
        RETURN 'applied';
    END IF;

    SELECT e.kind, e.detail INTO v_early
    FROM app.order_events AS e
    WHERE e.order_id = p_order_id
        AND e.kind IN ('bust', 'commission')
        AND e.reason = 'absent'
        AND e.detail ->> 'exec_id' = f.exec_id
    ORDER BY e.kind, e.order_event_id DESC
    LIMIT 1;
    IF v_early.kind = 'bust' THEN
        RETURN 'busted';
    END IF;
    INSERT INTO app.executions (
        order_id, account_id, instrument_id, source, exec_base, exec_revision, side, quantity,
        price, currency, fee, fee_currency, executed_at
    )
    VALUES (
        p_order_id, v_order.account_id, v_order.instrument_id, v_source, f.exec_id,
        f.exec_revision, v_order.side, f.quantity, f.price, v_currency, f.fee, f.fee_currency,
        f.executed_at
    )
    RETURNING * INTO v_fill;
    PERFORM app.sp_book_order(p_order_id, FALSE, p_actor);
    PERFORM app.sp_book_position(v_fill);
    PERFORM app.sp_book_cash(v_fill, 1);
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    PERFORM app.sp_audit_append(v_order.account_id, p_actor, 'execution.book', jsonb_build_object(
        'execution_id', v_fill.execution_id, 'order_id', p_order_id, 'exec_id', v_fill.exec_base,
        'side', v_fill.side, 'quantity', v_fill.quantity, 'price', v_fill.price,
        'fee', v_fill.fee, 'fee_currency', v_fill.fee_currency,
        'cum_quantity', v_order.cum_quantity, 'late', v_order.late_fill,
        'overfill', v_order.overfill
    ));
    PERFORM app.sp_notify('fill', v_order.account_id, jsonb_build_object(
        'client_order_id', v_order.client_order_id, 'instrument_id', v_order.instrument_id,
        'side', v_fill.side, 'quantity', v_fill.quantity, 'price', v_fill.price,
        'cum_quantity', v_order.cum_quantity, 'of', v_order.quantity
    ));
    IF v_early.kind = 'commission' AND f.fee IS NULL THEN
        PERFORM app.sp_apply_commission(p_order_id, p_actor, v_early.detail);
    END IF;
    RETURN 'applied';
END
$$;
