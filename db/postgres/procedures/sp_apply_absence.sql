-- sp_apply_absence(order, actor, event, event time, ttl, proved) -> applied, or why not
-- The route says that it does not know the order. That proves something only after the moment until
-- which it would still have taken the last send. Then what was to be placed is sent again, or
-- rejected when its time is over; what was to be canceled is canceled; and what the venue had
-- already reported on is lost: an operator must look.
-- Internal. Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_apply_absence(
    p_order_id bigint,
    p_actor text,
    p_event jsonb,
    p_event_at timestamptz,
    p_ttl interval,
    p_proved boolean
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_target text;
    v_reason text;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF v_order.status IN ('new', 'denied', 'filled', 'canceled', 'rejected', 'expired', 'lost')
        OR NOT (p_proved OR coalesce(p_event_at > v_order.valid_until, FALSE))
    THEN
        RETURN 'stale';
    END IF;

    IF v_order.broker_order_id IS NOT NULL OR v_order.cum_quantity > 0
        OR v_order.status IN ('accepted', 'partially_filled', 'pending_replace')
    THEN
        v_target := 'lost';
        v_reason := 'ABSENT_AT_BROKER';
    ELSIF v_order.status = 'pending_cancel' THEN
        v_target := 'canceled';
    ELSIF clock_timestamp() > v_order.created_at + p_ttl THEN
        v_target := 'rejected';
        v_reason := 'EXPIRED_BEFORE_SEND';
    ELSE
        v_target := 'submit_unknown';
        v_reason := 'ABSENT_AT_BROKER';
    END IF;

    PERFORM app.sp_order_move(
        p_order_id, v_target, v_reason, p_actor, 'absent', p_event, p_event_at
    );
    IF v_target <> 'submit_unknown' THEN
        PERFORM app.sp_outbox_archive_order(p_order_id, 'order.place.v1', v_target);
        PERFORM app.sp_outbox_archive_order(p_order_id, 'order.cancel.v1', v_target);
        RETURN CASE v_target WHEN 'lost' THEN 'absent' ELSE 'applied' END;
    END IF;
    IF NOT app.sp_order_owe(p_order_id, 'order.place.v1') THEN
        UPDATE app.events_outbox AS e
        SET last_outcome = NULL
        WHERE e.order_id = p_order_id AND e.kind = 'order.place.v1';
    END IF;
    DELETE FROM app.outbox_parked AS p WHERE p.stream_id = v_order.account_id;
    RETURN 'applied';
END
$$;
