-- sp_apply_order_state(order, actor, event, event time, ttl) -> applied, or why not
-- The answer to a question: {known, status?, broker_order_id?, executions?, reason?, quantity?,
-- limit_price?, stop_price?}; a long one comes in pieces. The last three are what the venue works
-- now: they say whether a replace got through, and when the route would not take it any more and it
-- did not, it is dropped. Books what we missed. No status means that the venue has said nothing yet
-- or, with reason AMBIGUOUS, that the bridge cannot tell any more: then an operator must look. A
-- cancel that left no trace is sent again.
-- Internal: sp_apply_event. Test: test_sp_recovery.py

CREATE OR REPLACE FUNCTION app.sp_apply_order_state(
    p_order_id bigint, p_actor text, p_event jsonb, p_event_at timestamptz, p_ttl interval
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_status text := coalesce(p_event ->> 'status', CASE p_event ->> 'reason'
        WHEN 'AMBIGUOUS' THEN 'ambiguous'
        ELSE 'submitted'
    END);
    v_executions jsonb := coalesce(nullif(p_event -> 'executions', 'null'), '[]');
    v_execution jsonb;
    v_booked text;
    v_any boolean := FALSE;
    v_bad text;
    v_result text;
    v_replaced text;
BEGIN
    IF p_event -> 'known' = 'false' THEN
        RETURN app.sp_apply_absence(p_order_id, p_actor, p_event, p_event_at, p_ttl, FALSE);
    END IF;
    IF (p_event -> 'known' = 'true') IS NOT TRUE OR jsonb_typeof(v_executions) <> 'array'
        OR (v_status IN (
            'submitted', 'accepted', 'partially_filled', 'filled', 'canceled', 'rejected',
            'expired', 'ambiguous'
        )) IS NOT TRUE
    THEN
        RETURN 'invalid';
    END IF;
    IF num_nonnulls(
        p_event ->> 'quantity', p_event ->> 'limit_price', p_event ->> 'stop_price'
    ) > 0 THEN
        v_replaced := app.sp_apply_values(p_order_id, p_actor, p_event, p_event_at);
        IF v_replaced = 'invalid' THEN
            RETURN 'invalid';
        END IF;
    END IF;
    FOR v_execution IN SELECT x.fill FROM jsonb_array_elements(v_executions) AS x (fill) LOOP
        v_booked := app.sp_book_execution(p_order_id, p_actor, v_execution);
        v_any := v_any OR v_booked = 'applied';
        IF v_booked NOT IN ('applied', 'duplicate', 'busted') THEN
            v_bad := coalesce(v_bad, v_booked);
        END IF;
    END LOOP;

    IF v_any THEN
        PERFORM app.sp_order_recorrect(p_order_id, p_actor, 'correction', p_event, p_event_at);
    END IF;
    PERFORM app.sp_order_known(p_order_id, p_event ->> 'broker_order_id');
    IF v_status = 'ambiguous' AND EXISTS (
        SELECT FROM app.orders AS o
        WHERE o.order_id = p_order_id
            AND o.cum_quantity >= greatest(o.quantity, o.pending_quantity)
    ) THEN
        -- Its executions tell what the bridge cannot.
        v_status := 'filled';
    END IF;
    IF v_status = 'ambiguous' THEN
        v_result := CASE
            WHEN app.sp_order_move(
                p_order_id, 'lost', 'AMBIGUOUS_AT_BROKER', p_actor, 'order_state', p_event,
                p_event_at
            ) THEN 'applied'
            ELSE 'stale'
        END;
    ELSE
        v_result := app.sp_apply_status(p_order_id, p_actor, v_status, p_event, p_event_at);
    END IF;
    IF v_status IN ('submitted', 'accepted', 'partially_filled') AND EXISTS (
        SELECT FROM app.orders AS o WHERE o.order_id = p_order_id AND o.status = 'pending_cancel'
    ) AND app.sp_order_owe(p_order_id, 'order.cancel.v1') THEN
        v_result := 'applied';
    END IF;
    RETURN CASE
        WHEN v_bad IS NOT NULL THEN v_bad
        WHEN (v_any OR v_replaced = 'applied') AND v_result IN ('stale', 'fill_gap') THEN 'applied'
        ELSE v_result
    END;
END
$$;
