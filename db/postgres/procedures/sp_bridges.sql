-- sp_bridges() -> source, deploy_id, epoch, sequence, heartbeat_at
-- The far ends that have reported, and how far we have their events. Writes nothing.
-- Called by app_worker, app_migrate. Test: test_sp_inbox.py

CREATE OR REPLACE FUNCTION app.sp_bridges()
RETURNS TABLE (
    source text, deploy_id text, epoch bigint, sequence bigint, heartbeat_at timestamptz
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.source, b.deploy_id, b.epoch, b.sequence, b.heartbeat_at
    FROM app.bridges AS b
    ORDER BY b.source
$$;
