-- sp_notify_backlog() -> how many messages wait, for how long the oldest has, how many are dead
-- Writes nothing. Called by app_worker. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify_backlog(
    OUT pending bigint, OUT oldest_s double precision, OUT dead bigint
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        count(*) FILTER (WHERE e.dead_at IS NULL),
        coalesce(extract(EPOCH FROM clock_timestamp() - min(e.created_at) FILTER (
            WHERE e.dead_at IS NULL
        )), 0)::double precision,
        count(*) FILTER (WHERE e.dead_at IS NOT NULL)
    FROM app.notify_events AS e
$$;
