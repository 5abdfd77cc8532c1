-- sp_finish_send(event, outcome, reason, broker order id, retry after) -> nothing
-- What the outcome of one send means for its row, its order and its lane. Unknown is never a
-- failure: the row stays and is asked after. What certainly did not leave stays too and is sent
-- again, unless somebody canceled the order meanwhile. A question never changes what is known of
-- its place or replace row. A row at which the adapter itself failed three times is given up.
-- The caller holds the stream lock and has checked the fence. Internal: sp_finish_sends.
-- Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_finish_send(
    p_event_id bigint,
    p_outcome text,
    p_reason text,
    p_broker_order_id text,
    p_retry_after_s double precision
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_row app.events_outbox;
    v_order app.orders;
    v_actor text := 'system:worker';
    v_asked boolean;
    v_done boolean := p_outcome IN ('accepted', 'definite_reject');
    v_detail jsonb;
    v_status_after text;
    -- What our own code failed at so often, it will fail at again.
    c_failures_max constant integer := 3;
BEGIN
    SELECT e.* INTO STRICT v_row FROM app.events_outbox AS e WHERE e.event_id = p_event_id;
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = v_row.order_id;
    v_detail := jsonb_strip_nulls(jsonb_build_object(
        'event_id', p_event_id, 'action', v_row.last_action, 'outcome', p_outcome,
        'reason', left(p_reason, 500)
    ));
    IF p_outcome = 'unknown' AND p_reason = 'adapter_failed' AND v_row.attempts >= c_failures_max
    THEN
        PERFORM app.sp_outbox_bury(p_event_id, p_reason);
        RETURN;
    END IF;
    v_asked := v_row.kind IN ('order.place.v1', 'order.replace.v1')
        AND v_row.last_action = 'query';

    IF v_row.last_action = 'place' THEN
        UPDATE app.orders AS o
        SET broker_order_id = coalesce(p_broker_order_id, o.broker_order_id)
        WHERE o.order_id = v_order.order_id;
        v_status_after := CASE
            WHEN p_outcome = 'definite_reject' THEN 'rejected'
            WHEN p_outcome IN ('accepted', 'unknown') AND v_order.status = 'pending_cancel'
                THEN NULL
            WHEN p_outcome = 'accepted' THEN 'submitted'
            WHEN p_outcome = 'unknown' THEN 'submit_unknown'
            WHEN v_order.status = 'pending_cancel' THEN 'canceled'
        END;
        v_done := v_done OR v_status_after = 'canceled';
    ELSIF p_outcome = 'definite_reject' AND (v_row.last_action, v_order.status) IN (
        ('cancel', 'pending_cancel'), ('replace', 'pending_replace')
    ) THEN
        v_status_after := app.sp_order_working(v_order);
    END IF;
    IF v_status_after IS NOT NULL THEN
        PERFORM app.sp_order_move(
            v_order.order_id, v_status_after,
            CASE p_outcome WHEN 'definite_reject' THEN left(p_reason, 200) END,
            v_actor, 'finish_send', v_detail
        );
    END IF;

    IF v_done AND NOT v_asked THEN
        PERFORM app.sp_outbox_archive(
            p_event_id, CASE v_status_after WHEN 'canceled' THEN 'canceled' ELSE p_outcome END
        );
        DELETE FROM app.outbox_parked AS p WHERE p.stream_id = v_row.stream_id;
    ELSE
        UPDATE app.events_outbox AS e
        SET last_outcome = CASE WHEN v_asked THEN 'unknown' ELSE p_outcome END
        WHERE e.event_id = p_event_id;
        PERFORM app.sp_outbox_park(
            v_row.stream_id, CASE WHEN v_done THEN 'unknown' ELSE p_outcome END, p_reason,
            p_retry_after_s,
            -- It waits for an answer, not for the route.
            v_row.kind <> 'order.cancel.v1' AND (v_done IS TRUE OR p_outcome = 'unknown')
        );
    END IF;
END
$$;
