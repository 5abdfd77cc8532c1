-- sp_apply_event(order, actor, event, ttl) -> applied, or why not
-- Hands an event to the routine of its kind. The caller holds the stream lock.
-- Internal: sp_apply_broker_event. Test: test_sp_events.py

CREATE OR REPLACE FUNCTION app.sp_apply_event(
    p_order_id bigint, p_actor text, p_event jsonb, p_ttl interval
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_event_at timestamptz := app.sp_wire_time(p_event ->> 'occurred_at');
BEGIN
    IF v_event_at IS NULL THEN
        RETURN 'invalid';
    END IF;
    CASE p_event ->> 'kind'
        WHEN 'order_event' THEN
            RETURN app.sp_apply_order_event(p_order_id, p_actor, p_event, v_event_at);
        WHEN 'order_state' THEN
            RETURN app.sp_apply_order_state(p_order_id, p_actor, p_event, v_event_at, p_ttl);
        WHEN 'cancel_rejected' THEN
            RETURN app.sp_apply_cancel_rejected(p_order_id, p_actor, p_event, v_event_at);
        WHEN 'replace_rejected' THEN
            RETURN app.sp_apply_replace_rejected(p_order_id, p_actor, p_event, v_event_at);
        WHEN 'bust' THEN
            RETURN app.sp_apply_bust(p_order_id, p_actor, p_event, v_event_at);
        WHEN 'commission' THEN
            RETURN app.sp_apply_commission(p_order_id, p_actor, p_event);
        WHEN 'command_rejected' THEN
            RETURN app.sp_apply_command_rejected(p_order_id, p_actor, p_event, v_event_at, p_ttl);
        ELSE
            RETURN 'invalid';
    END CASE;
END
$$;
