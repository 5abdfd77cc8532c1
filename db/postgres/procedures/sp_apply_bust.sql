-- sp_apply_bust(order, actor, event, event time) -> applied, or why not
-- The venue takes an execution back: {exec_id, exec_revision?}. One that comes before its execution
-- is kept, and the execution is not booked then.
-- Internal: sp_apply_event. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_apply_bust(
    p_order_id bigint, p_actor text, p_event jsonb, p_event_at timestamptz
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_fill app.executions;
    v_revision integer;
BEGIN
    IF (
        p_event ->> 'exec_id' ~ '^.{1,200}$'
        AND coalesce(p_event ->> 'exec_revision', '0') ~ '^[0-9]{1,9}$'
    ) IS NOT TRUE THEN
        RETURN 'invalid';
    END IF;
    v_revision := coalesce(p_event ->> 'exec_revision', '0')::integer;
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    v_fill := app.sp_execution_current(
        v_order.account_id, regexp_replace(p_actor, '^broker:', ''), p_event ->> 'exec_id'
    );
    IF v_fill.execution_id IS NULL THEN
        RETURN 'absent';
    ELSIF v_fill.order_id <> p_order_id THEN
        RETURN 'conflict';
    ELSIF v_fill.kind = 'bust' THEN
        RETURN 'duplicate';
    END IF;
    PERFORM app.sp_book_change(
        v_fill, 'bust', greatest(v_revision, v_fill.exec_revision + 1), 0, v_fill.quantity,
        v_fill.price, v_fill.fee, v_fill.fee_currency, p_event_at, p_actor
    );
    PERFORM app.sp_order_recorrect(p_order_id, p_actor, 'bust', p_event, p_event_at);
    RETURN 'applied';
END
$$;
