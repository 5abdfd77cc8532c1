-- sp_inbox_report(source, deployment, events, heartbeat) -> nothing
-- Keeps what the worker heard over a connection of its own (`ib:`), as sp_inbox_put does for what
-- comes by webhook. There is no deployment over there that could change, so the epoch is always 1.
-- SQLSTATE of sp_inbox_put. Called by app_worker. Test: test_ibkr_worker.py

CREATE OR REPLACE FUNCTION app.sp_inbox_report(
    p_source text, p_deploy_id text, p_events jsonb, p_heartbeat jsonb
)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM app.sp_inbox_put(p_source, p_deploy_id, 1, p_events, p_heartbeat);
END
$$;
