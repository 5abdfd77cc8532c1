-- sp_apply_command_rejected(order, actor, event, event time, ttl) -> applied, or why not
-- The bridge refused a command: {command, reason}. A place that came too late or to another epoch
-- was not placed and may be sent again, after a moment; a cancel or a
-- replace of that kind is owed again. Any other refusal is final for a place and sends the order of
-- a cancel or a replace back to where it was. A refusal of
-- a repeated place says nothing about an order that the venue has.
-- Internal: sp_apply_event. Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_apply_command_rejected(
    p_order_id bigint, p_actor text, p_event jsonb, p_event_at timestamptz, p_ttl interval
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_command text := p_event ->> 'command';
    v_reason text := left(p_event ->> 'reason', 200);
    v_again boolean := v_reason IN ('EXPIRED', 'WRONG_EPOCH');
    v_result text;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF v_command IS NULL OR v_reason IS NULL THEN
        RETURN 'invalid';
    ELSIF v_command = 'PlaceOrder' THEN
        IF v_order.broker_order_id IS NOT NULL
            OR v_order.cum_quantity > 0
            OR v_order.status NOT IN (
                'submitting', 'submit_unknown', 'submitted', 'pending_cancel'
            )
        THEN
            RETURN 'stale';
        END IF;
        IF NOT v_again THEN
            PERFORM app.sp_outbox_archive_order(p_order_id, 'order.place.v1', 'rejected');
            PERFORM app.sp_order_move(
                p_order_id, 'rejected', v_reason, p_actor, 'command_rejected', p_event, p_event_at
            );
            RETURN 'applied';
        END IF;
        v_result := app.sp_apply_absence(
            p_order_id, p_actor, p_event, p_event_at, p_ttl, v_reason = 'WRONG_EPOCH'
        );
        IF v_result = 'applied' THEN
            PERFORM app.sp_outbox_park(v_order.account_id, 'not_sent', v_reason);
        END IF;
        RETURN v_result;
    ELSIF (v_command, v_order.status) NOT IN (
        ('CancelOrder', 'pending_cancel'), ('ReplaceOrder', 'pending_replace')
    ) THEN
        RETURN 'stale';
    END IF;
    IF v_command = 'ReplaceOrder' THEN
        PERFORM app.sp_outbox_archive_order(p_order_id, 'order.replace.v1', 'rejected');
    END IF;
    IF v_again THEN
        IF app.sp_order_owe(
            p_order_id,
            CASE v_command WHEN 'CancelOrder' THEN 'order.cancel.v1' ELSE 'order.replace.v1' END
        ) THEN
            PERFORM app.sp_outbox_park(v_order.account_id, 'not_sent', v_reason);
        END IF;
        RETURN 'applied';
    END IF;
    PERFORM app.sp_order_move(
        p_order_id, app.sp_order_working(v_order), v_reason, p_actor, 'command_rejected', p_event,
        p_event_at
    );
    RETURN 'applied';
END
$$;
