-- sp_order_note(order, kind, source, applied, reason, detail, event time) -> nothing
-- Records what was reported of an order without moving its state.
-- The caller holds the stream lock. Internal. Test: test_sp_events.py

CREATE OR REPLACE FUNCTION app.sp_order_note(
    p_order_id bigint,
    p_kind text,
    p_source text,
    p_applied boolean,
    p_reason text,
    p_detail jsonb,
    p_event_at timestamptz
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO app.order_events (
        order_id, kind, source, status_before, status_after, applied, reason, detail, event_at
    )
    SELECT
        o.order_id, p_kind, p_source, o.status, o.status, p_applied, p_reason, p_detail, p_event_at
    FROM app.orders AS o
    WHERE o.order_id = p_order_id;
END
$$;
