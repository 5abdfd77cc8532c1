-- sp_outbox_bury(event, error) -> nothing
-- Gives up a row that our own code cannot carry: it goes to app.events_dead, its order is lost and
-- needs an operator, and the lane goes on with the next. The caller holds the stream lock.
-- Internal: sp_finish_send. Test: test_sp_operator.py

CREATE OR REPLACE FUNCTION app.sp_outbox_bury(p_event_id bigint, p_error text)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_dead app.events_dead;
BEGIN
    WITH gone AS (
        DELETE FROM app.events_outbox AS e WHERE e.event_id = p_event_id RETURNING e.*
    )
    INSERT INTO app.events_dead (
        event_id, shard, stream_id, kind, order_id, payload, request_id, attempts, outcome,
        created_at, done_at, error
    )
    SELECT
        g.event_id, g.shard, g.stream_id, g.kind, g.order_id, g.payload, g.request_id, g.attempts,
        'dead', g.created_at, clock_timestamp(), left(p_error, 500)
    FROM gone AS g
    RETURNING * INTO STRICT v_dead;
    -- Nothing leads from submitting to lost: what was begun is unknown first.
    PERFORM app.sp_order_move(
        v_dead.order_id, 'submit_unknown', NULL, 'system:worker', 'bury'
    );
    PERFORM app.sp_order_move(
        v_dead.order_id, 'lost', 'GIVEN_UP', 'system:worker', 'bury',
        jsonb_build_object('event_id', p_event_id, 'error', left(p_error, 500))
    );
    DELETE FROM app.outbox_parked AS p WHERE p.stream_id = v_dead.stream_id;
END
$$;
