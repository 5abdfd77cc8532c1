-- sp_outbox_archive(event, outcome) -> nothing
-- Moves a row that is done from app.events_outbox to app.events_done. A lane with nothing left
-- waits for nothing.
-- The caller holds the stream lock. Internal. Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_outbox_archive(p_event_id bigint, p_outcome text)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_stream_id bigint;
BEGIN
    SELECT e.stream_id INTO v_stream_id FROM app.events_outbox AS e WHERE e.event_id = p_event_id;
    WITH done AS (
        DELETE FROM app.events_outbox AS e WHERE e.event_id = p_event_id RETURNING e.*
    )
    INSERT INTO app.events_done (
        event_id, shard, stream_id, kind, order_id, payload, request_id, attempts, outcome,
        created_at
    )
    SELECT
        d.event_id, d.shard, d.stream_id, d.kind, d.order_id, d.payload, d.request_id, d.attempts,
        p_outcome, d.created_at
    FROM done AS d;
    DELETE FROM app.outbox_parked AS p
    WHERE p.stream_id = v_stream_id
        AND NOT EXISTS (SELECT FROM app.events_outbox AS e WHERE e.stream_id = v_stream_id);
END
$$;
