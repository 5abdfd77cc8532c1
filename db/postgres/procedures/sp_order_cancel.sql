-- sp_order_cancel(order row, actor, request id, reason) -> whether something was done
-- Cancels at once what certainly never left: its place row is archived with it. Anything else that
-- works becomes `pending_cancel` and owes one order.cancel.v1; a replace of it that did not leave
-- is forgotten. Does nothing to an order that is over, on its way to be canceled, or placed
-- elsewhere. The caller holds the stream lock.
-- Internal: sp_cancel_order, sp_cancel_open. Test: test_sp_cancel_order.py, test_sp_cancel_all.py

CREATE OR REPLACE FUNCTION app.sp_order_cancel(
    p_order app.orders, p_actor text, p_request_id text, p_reason_code text DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_order.origin = 'external' OR p_order.status IN (
        'denied', 'filled', 'canceled', 'rejected', 'expired', 'pending_cancel'
    ) THEN
        RETURN FALSE;
    END IF;
    IF app.sp_order_unsent(p_order.order_id) THEN
        PERFORM app.sp_order_move(
            p_order.order_id, 'canceled', p_reason_code, p_actor, 'cancel'
        );
        PERFORM app.sp_outbox_archive_order(p_order.order_id, 'order.place.v1', 'canceled');
        RETURN TRUE;
    END IF;
    PERFORM app.sp_order_move(
        p_order.order_id, 'pending_cancel', p_reason_code, p_actor, 'cancel'
    );
    PERFORM app.sp_outbox_archive(e.event_id, 'canceled')
    FROM app.events_outbox AS e
    WHERE e.order_id = p_order.order_id
        AND e.kind = 'order.replace.v1'
        AND coalesce(e.last_outcome, 'not_sent') NOT IN ('sending', 'unknown');
    PERFORM app.sp_outbox_enqueue(
        p_order.account_id, 'order.cancel.v1', p_order.order_id,
        jsonb_build_object('client_order_id', p_order.client_order_id), p_request_id
    );
    RETURN TRUE;
END
$$;
