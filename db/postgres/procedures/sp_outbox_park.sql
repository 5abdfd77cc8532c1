-- sp_outbox_park(stream, outcome, reason, retry after, cancels pass) -> nothing
-- Lets a lane wait. An unknown outcome is asked after by the schedule 1, 2, 5, 10, 30 s; what was
-- not sent is tried again after anything up to 0.5 s, doubling to 60 s, or when the route said; a
-- lane without authority waits a minute. A lane that waits for an answer or a price, not for its
-- route, lets cancels pass. The count starts anew when something gets through.
-- The caller holds the stream lock. Internal. Test: test_sp_sends.py

CREATE OR REPLACE FUNCTION app.sp_outbox_park(
    p_stream_id bigint,
    p_outcome text,
    p_reason text,
    p_retry_after_s double precision DEFAULT NULL,
    p_cancels_pass boolean DEFAULT FALSE
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_attempts integer := 1 + coalesce((
        SELECT p.attempts FROM app.outbox_parked AS p WHERE p.stream_id = p_stream_id
    ), 0);
    v_wait_s double precision := CASE
        WHEN p_outcome = 'unknown' THEN (ARRAY[1, 2, 5, 10, 30])[least(v_attempts, 5)]
        WHEN p_outcome = 'auth' THEN 60
        WHEN p_retry_after_s >= 0 THEN greatest(0.1, least(p_retry_after_s, 300))
        -- Full jitter: lanes that failed together do not come back together.
        ELSE greatest(0.05, least(0.5 * 2 ^ least(v_attempts - 1, 10), 60) * random())
    END;
BEGIN
    INSERT INTO app.outbox_parked AS p (
        stream_id, next_attempt_at, attempts, last_error, cancels_pass
    )
    VALUES (
        p_stream_id, clock_timestamp() + v_wait_s * interval '1 s', v_attempts,
        left(concat_ws(': ', p_outcome, p_reason), 500), p_cancels_pass
    )
    ON CONFLICT (stream_id) DO UPDATE
    SET
        next_attempt_at = excluded.next_attempt_at,
        attempts = excluded.attempts,
        last_error = excluded.last_error,
        cancels_pass = excluded.cancels_pass;
END
$$;
