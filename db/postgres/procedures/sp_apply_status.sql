-- sp_apply_status(order, actor, status, event, event time) -> applied, stale, illegal or fill_gap
-- Moves the order to what a report says, as far as its executions bear it out: filled means all
-- of it is in our executions, and a report that claims more than they show is a gap. Reports older
-- than what is known change nothing. Only the fill that completes an order leaves a terminal state.
-- Internal. Test: test_sp_events.py

CREATE OR REPLACE FUNCTION app.sp_apply_status(
    p_order_id bigint, p_actor text, p_status text, p_event jsonb, p_event_at timestamptz
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_order app.orders;
    v_target text;
    v_gap boolean;
BEGIN
    SELECT o.* INTO STRICT v_order FROM app.orders AS o WHERE o.order_id = p_order_id;
    v_target := CASE
        WHEN v_order.cum_quantity >= v_order.quantity AND NOT (
            -- The replace that makes it larger may have got through.
            v_order.status = 'pending_replace'
            AND coalesce(v_order.pending_quantity > v_order.cum_quantity, FALSE)
            AND p_status IN ('submitted', 'accepted', 'partially_filled')
        ) THEN 'filled'
        WHEN p_status IN ('submitted', 'accepted', 'partially_filled', 'filled')
            AND v_order.cum_quantity > 0 THEN 'partially_filled'
        WHEN p_status IN ('partially_filled', 'filled') THEN 'accepted'
        -- What has traded was not refused.
        WHEN p_status = 'rejected' AND v_order.cum_quantity > 0 THEN 'canceled'
        ELSE p_status
    END;
    v_gap := (p_status = 'filled' AND v_target <> 'filled')
        OR (p_status = 'partially_filled' AND v_order.cum_quantity = 0);

    IF v_order.status IN ('denied', 'filled', 'canceled', 'rejected', 'expired') THEN
        IF v_target = 'filled' AND v_order.status NOT IN ('denied', 'filled') THEN
            PERFORM app.sp_order_move(
                p_order_id, 'filled', NULL, p_actor, 'late_fill', p_event, p_event_at
            );
            RETURN 'applied';
        END IF;
        RETURN CASE v_order.status WHEN 'denied' THEN 'illegal' ELSE 'stale' END;
    END IF;
    IF v_order.status <> v_target
        AND NOT (v_target = 'submitted' AND v_order.status NOT IN ('submitting', 'submit_unknown'))
        -- A cancel or a replace on its way is not undone by a sign of life.
        AND NOT (
            v_order.status IN ('pending_cancel', 'pending_replace')
            AND v_target IN ('accepted', 'partially_filled')
        )
    THEN
        IF app.sp_order_move(
            p_order_id, v_target,
            CASE
                -- An order whose time is over was not refused: prose about it is no code.
                WHEN v_target IN ('canceled', 'rejected')
                    OR (v_target = 'expired' AND p_event ->> 'reason' ~ '^[A-Z0-9_]+$')
                    THEN left(p_event ->> 'reason', 200)
            END,
            p_actor, p_event ->> 'kind', p_event, p_event_at
        ) THEN
            RETURN CASE WHEN v_gap THEN 'fill_gap' ELSE 'applied' END;
        END IF;
        RETURN 'illegal';
    END IF;
    RETURN CASE WHEN v_gap THEN 'fill_gap' ELSE 'stale' END;
END
$$;
