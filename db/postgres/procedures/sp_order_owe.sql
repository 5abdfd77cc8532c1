-- sp_order_owe(order, kind) -> whether it is new
-- Owes a cancel, a replace, a question or, after proof of absence, a place for an order, once at a
-- time. What was placed elsewhere is never sent anything.
-- Internal. Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_order_owe(p_order_id bigint, p_kind text)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF v_order.origin = 'external' OR EXISTS (
        SELECT FROM app.events_outbox AS e WHERE e.order_id = p_order_id AND e.kind = p_kind
    ) THEN
        RETURN FALSE;
    END IF;
    PERFORM app.sp_outbox_enqueue(
        v_order.account_id, p_kind, p_order_id,
        jsonb_build_object('client_order_id', v_order.client_order_id), v_order.request_id
    );
    RETURN TRUE;
END
$$;
