-- sp_apply_broker_events(inbox ids, ttl) -> (inbox id, outcome) of those that were applied
-- Applies reported events in the order given, each as sp_apply_broker_event does. Those of accounts
-- that somebody else is writing to are left out, the first only where that takes long.
-- SQLSTATE 25001; IN404 event_not_found. Called by app_worker. Test: test_sp_lanes_apart.py

CREATE OR REPLACE FUNCTION app.sp_apply_broker_events(
    p_inbox_ids bigint[], p_ttl interval DEFAULT '120 s'
)
RETURNS TABLE (inbox_id bigint, outcome text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_streams bigint[];
    v_locked bigint[];
BEGIN
    PERFORM app.sp_require_read_committed();
    -- What no account reports is of stream 0.
    v_streams := ARRAY(
        SELECT coalesce(app.sp_source_account(i.source), 0)
        FROM unnest(p_inbox_ids) WITH ORDINALITY AS g (inbox_id, place)
        LEFT JOIN app.inbox AS i ON i.inbox_id = g.inbox_id
        ORDER BY g.place
    );
    v_locked := app.sp_lock_streams(v_streams);
    FOR v_place IN 1..coalesce(cardinality(p_inbox_ids), 0) LOOP
        CONTINUE WHEN v_streams[v_place] <> ALL (v_locked);
        inbox_id := p_inbox_ids[v_place];
        outcome := app.sp_apply_broker_event(inbox_id, p_ttl);
        RETURN NEXT;
    END LOOP;
END
$$;
