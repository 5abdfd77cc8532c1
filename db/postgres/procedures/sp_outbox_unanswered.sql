-- sp_outbox_unanswered() -> quarantined since (null: it is not), reason, unanswered, held
-- Whether a quarantine lasts; how many rows wait for an answer from the far end, and how many wait
-- for its end. Writes nothing.
-- Called by app_migrate, sp_outbox_quarantine, sp_outbox_release. Test: test_sp_quarantine.py

CREATE OR REPLACE FUNCTION app.sp_outbox_unanswered()
RETURNS TABLE (quarantined_at timestamptz, reason text, unanswered bigint, held bigint)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        (SELECT q.started_at FROM app.outbox_quarantine AS q),
        (SELECT q.reason FROM app.outbox_quarantine AS q),
        count(*) FILTER (WHERE j.asks),
        count(*) FILTER (WHERE NOT j.asks)
    FROM (
        SELECT
            e.kind = 'order.query.v1'
            OR (
                e.kind <> 'order.cancel.v1'
                AND coalesce(e.last_outcome IN ('sending', 'unknown'), FALSE)
            ) AS asks
        FROM app.events_outbox AS e
    ) AS j
$$;
