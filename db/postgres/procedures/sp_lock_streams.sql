-- sp_lock_streams(streams, patience) -> those that are locked now
-- Locks the first of several streams, or gives up when somebody else holds it for longer than the
-- patience, and of the others those that nobody holds: who writes to many accounts never lets one
-- wait for another, nor for long for anybody.
-- Internal: sp_fence, sp_apply_broker_events. Test: test_sp_lanes_apart.py

CREATE OR REPLACE FUNCTION app.sp_lock_streams(p_streams bigint[], p_patience text DEFAULT '100ms')
RETURNS bigint[]
LANGUAGE plpgsql
AS $$
DECLARE
    v_before text := current_setting('lock_timeout');
BEGIN
    BEGIN
        PERFORM set_config('lock_timeout', p_patience, TRUE);
        PERFORM FROM app.streams AS s WHERE s.stream_id = p_streams[1] FOR NO KEY UPDATE;
    EXCEPTION WHEN lock_not_available THEN
        NULL; -- It is among those that are left out.
    END;
    PERFORM set_config('lock_timeout', v_before, TRUE);
    RETURN ARRAY(
        SELECT s.stream_id
        FROM app.streams AS s
        WHERE s.stream_id = ANY(p_streams)
        FOR NO KEY UPDATE SKIP LOCKED
    );
END
$$;
