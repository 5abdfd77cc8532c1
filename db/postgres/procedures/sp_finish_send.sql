-- sp_finish_send(event row, order row, outcome, reason, retry after)
--                -> (status after, reason code, detail, archived as)
-- What the outcome of one send means for its row, its order and its lane. Unknown is never a
-- failure: the row stays and is asked after. What certainly did not leave stays too and is sent
-- again, unless somebody canceled the order meanwhile. A question never changes what is known of
-- its place or replace row. A row at which the adapter itself failed three times is given up.
-- Parks, buries or keeps the row itself; moving the order and archiving the row, where the two are
-- told, is the caller's, who holds the stream lock and has checked the fence.
-- Internal: sp_finish_sends. Test: test_sp_sends.py

-- Its arguments are part of what it is.
DROP FUNCTION IF EXISTS app.sp_finish_send(bigint, text, text, text, double precision);

CREATE OR REPLACE FUNCTION app.sp_finish_send(
    p_row app.events_outbox,
    p_order app.orders,
    p_outcome text,
    p_reason text,
    p_retry_after_s double precision,
    OUT status_after text,
    OUT reason_code text,
    OUT detail jsonb,
    OUT archived_as text
)
LANGUAGE plpgsql
AS $$
DECLARE
    v_asked boolean := p_row.kind IN ('order.place.v1', 'order.replace.v1')
        AND p_row.last_action = 'query';
    v_done boolean := p_outcome IN ('accepted', 'definite_reject');
    -- What our own code failed at so often, it will fail at again.
    c_failures_max constant integer := 3;
BEGIN
    IF p_outcome = 'unknown' AND p_reason = 'adapter_failed' AND p_row.attempts >= c_failures_max
    THEN
        PERFORM app.sp_outbox_bury(p_row.event_id, p_reason);
        RETURN;
    END IF;
    detail := jsonb_strip_nulls(jsonb_build_object(
        'event_id', p_row.event_id, 'action', p_row.last_action, 'outcome', p_outcome,
        'reason', left(p_reason, 500)
    ));
    IF p_row.last_action = 'place' THEN
        status_after := CASE
            WHEN p_outcome = 'definite_reject' THEN 'rejected'
            WHEN p_outcome IN ('accepted', 'unknown') AND p_order.status = 'pending_cancel'
                THEN NULL
            WHEN p_outcome = 'accepted' THEN 'submitted'
            WHEN p_outcome = 'unknown' THEN 'submit_unknown'
            WHEN p_order.status = 'pending_cancel' THEN 'canceled'
        END;
        v_done := v_done OR status_after = 'canceled';
    ELSIF p_outcome = 'definite_reject' AND (p_row.last_action, p_order.status) IN (
        ('cancel', 'pending_cancel'), ('replace', 'pending_replace')
    ) THEN
        status_after := app.sp_order_working(p_order);
    END IF;
    reason_code := CASE p_outcome WHEN 'definite_reject' THEN left(p_reason, 200) END;
    IF v_done AND NOT v_asked THEN
        archived_as := CASE status_after WHEN 'canceled' THEN 'canceled' ELSE p_outcome END;
    ELSE
        UPDATE app.events_outbox AS e
        SET last_outcome = CASE WHEN v_asked THEN 'unknown' ELSE p_outcome END
        WHERE e.event_id = p_row.event_id;
        PERFORM app.sp_outbox_park(
            p_row.stream_id, CASE WHEN v_done THEN 'unknown' ELSE p_outcome END, p_reason,
            p_retry_after_s,
            -- It waits for an answer, not for the route.
            p_row.kind <> 'order.cancel.v1' AND (v_done IS TRUE OR p_outcome = 'unknown')
        );
    END IF;
END
$$;
