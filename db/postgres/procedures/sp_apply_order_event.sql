-- sp_apply_order_event(order, actor, event, event time) -> applied, or why not
-- One report of the venue: {status, broker_order_id?, fill_quantity?, fill_price?, fee?,
-- fee_currency?, exec_id?, exec_revision?, reason?}, or status `replaced` with the values that the
-- venue works now: {quantity?, limit_price?, stop_price?}. A revision above 0 corrects the fill. A
-- fill that cannot be booked stops the event: its status would claim what our executions do not
-- show.
-- Internal: sp_apply_event. Test: test_sp_events.py

CREATE OR REPLACE FUNCTION app.sp_apply_order_event(
    p_order_id bigint, p_actor text, p_event jsonb, p_event_at timestamptz
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_booked text;
    v_result text;
BEGIN
    IF (p_event ->> 'status' IN (
        'submitted', 'accepted', 'partially_filled', 'filled', 'canceled', 'rejected', 'expired',
        'replaced'
    )) IS NOT TRUE THEN
        RETURN 'invalid';
    END IF;
    IF coalesce(p_event ->> 'fill_quantity', '0') !~ '^0(\.0+)?$' THEN
        v_booked := app.sp_book_execution(p_order_id, p_actor, jsonb_build_object(
            'exec_id', p_event -> 'exec_id',
            'exec_revision', p_event -> 'exec_revision',
            'quantity', p_event -> 'fill_quantity',
            'price', p_event -> 'fill_price',
            'fee', p_event -> 'fee',
            'fee_currency', p_event -> 'fee_currency',
            'executed_at', p_event -> 'occurred_at'
        ));
        IF v_booked NOT IN ('applied', 'duplicate') THEN
            RETURN v_booked;
        END IF;
        IF v_booked = 'applied' AND coalesce(p_event ->> 'exec_revision', '0') <> '0' THEN
            PERFORM app.sp_order_recorrect(
                p_order_id, p_actor, 'correction', p_event, p_event_at
            );
        END IF;
    END IF;
    PERFORM app.sp_order_known(p_order_id, p_event ->> 'broker_order_id');
    IF p_event ->> 'status' = 'replaced' THEN
        v_result := app.sp_apply_replaced(p_order_id, p_actor, p_event, p_event_at);
    ELSE
        v_result := app.sp_apply_status(
            p_order_id, p_actor, p_event ->> 'status', p_event, p_event_at
        );
    END IF;
    IF v_result = 'fill_gap' THEN
        -- The missing executions may be on their way; ask for them all.
        PERFORM app.sp_order_owe(p_order_id, 'order.query.v1');
        RETURN 'applied';
    END IF;
    RETURN CASE v_result WHEN 'stale' THEN coalesce(v_booked, 'stale') ELSE v_result END;
END
$$;
