-- sp_order_recorrect(order, actor, kind, event, event time) -> nothing
-- Brings the state in line with executions that were changed after the fact: a filled order that
-- has something left goes back to where it was before that fill, and is asked after when it works
-- again; a partially filled one without any fill is accepted; one that is complete now is filled.
-- Internal: sp_apply_order_event, sp_apply_order_state, sp_apply_bust. Test: test_sp_corrections.py

CREATE OR REPLACE FUNCTION app.sp_order_recorrect(
    p_order_id bigint, p_actor text, p_kind text, p_event jsonb, p_event_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_target text;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    IF NOT v_order.corrected THEN
        RETURN;
    END IF;
    IF v_order.status = 'filled' AND v_order.cum_quantity < v_order.quantity THEN
        SELECT e.status_before INTO v_target
        FROM app.order_events AS e
        WHERE e.order_id = p_order_id AND e.status_after = 'filled' AND e.status_before <> 'filled'
        ORDER BY e.order_event_id DESC
        LIMIT 1;
        v_target := CASE
            WHEN v_target IN ('canceled', 'rejected', 'expired') THEN v_target
            WHEN v_order.cum_quantity > 0 THEN 'partially_filled'
            ELSE 'accepted'
        END;
    ELSIF v_order.status = 'partially_filled' AND v_order.cum_quantity = 0 THEN
        v_target := 'accepted';
    ELSIF v_order.cum_quantity >= v_order.quantity
        AND v_order.status NOT IN ('denied', 'filled')
    THEN
        v_target := 'filled';
    ELSE
        RETURN;
    END IF;
    PERFORM app.sp_order_move(
        p_order_id, v_target,
        CASE WHEN v_target IN ('canceled', 'rejected', 'expired') THEN v_order.reason_code END,
        p_actor, p_kind, p_event, p_event_at
    );
    IF v_target IN ('accepted', 'partially_filled') THEN
        PERFORM app.sp_order_owe(p_order_id, 'order.query.v1');
    END IF;
END
$$;
