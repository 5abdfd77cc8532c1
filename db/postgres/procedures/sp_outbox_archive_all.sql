-- sp_outbox_archive_all(events, outcomes) -> nothing
-- Moves rows that are done from app.events_outbox to app.events_done, and opens their lanes: what
-- they waited for got through; the set-based form of sp_outbox_archive. The caller holds the
-- locks of the streams. Internal: sp_finish_sends. Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_outbox_archive_all(p_events bigint[], p_outcomes text[])
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    WITH done AS (
        DELETE FROM app.events_outbox AS e
        USING unnest(p_events, p_outcomes) AS u (event_id, outcome)
        WHERE e.event_id = u.event_id
        RETURNING e.*, u.outcome
    ),
    opened AS (
        DELETE FROM app.outbox_parked AS p USING done AS d WHERE p.stream_id = d.stream_id
    )
    INSERT INTO app.events_done (
        event_id, shard, stream_id, kind, order_id, payload, request_id, attempts, outcome,
        created_at
    )
    SELECT
        d.event_id, d.shard, d.stream_id, d.kind, d.order_id, d.payload, d.request_id, d.attempts,
        d.outcome, d.created_at
    FROM done AS d;
END
$$;
