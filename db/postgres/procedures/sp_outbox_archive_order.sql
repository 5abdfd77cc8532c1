-- sp_outbox_archive_order(order, kind, outcome) -> how many
-- Archives the pending rows of a kind of an order and, if there were any, opens the lane again:
-- what it waited for is answered.
-- The caller holds the stream lock. Internal. Test: test_sp_recovery.py, test_sp_cancel_order.py

CREATE OR REPLACE FUNCTION app.sp_outbox_archive_order(
    p_order_id bigint, p_kind text, p_outcome text
)
RETURNS integer
LANGUAGE plpgsql
AS $$
DECLARE
    v_row app.events_outbox;
    v_count integer := 0;
BEGIN
    FOR v_row IN
        SELECT e.* FROM app.events_outbox AS e WHERE e.order_id = p_order_id AND e.kind = p_kind
    LOOP
        PERFORM app.sp_outbox_archive(v_row.event_id, p_outcome);
        DELETE FROM app.outbox_parked AS p WHERE p.stream_id = v_row.stream_id;
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END
$$;
