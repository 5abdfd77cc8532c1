-- sp_outbox_age() -> pending, oldest_s, parked, dead, lost
-- What is owed to the brokers and since when, and how many orders need an operator; for the
-- metrics. Writes nothing. Called by app_worker. Test: test_sp_sends.py

-- Its columns are part of what it is.
DROP FUNCTION IF EXISTS app.sp_outbox_age();

CREATE OR REPLACE FUNCTION app.sp_outbox_age()
RETURNS TABLE (
    pending bigint, oldest_s double precision, parked bigint, dead bigint, lost bigint
)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        count(*),
        coalesce(extract(EPOCH FROM clock_timestamp() - min(e.created_at)), 0)::double precision,
        (SELECT count(*) FROM app.outbox_parked AS p WHERE p.next_attempt_at > clock_timestamp()),
        (SELECT count(*) FROM app.events_dead),
        (SELECT count(*) FROM app.orders AS o WHERE o.status = 'lost')
    FROM app.events_outbox AS e
$$;
