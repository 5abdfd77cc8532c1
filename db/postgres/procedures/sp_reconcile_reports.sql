-- sp_reconcile_reports() -> account, when heard, positions and cash: the reports that count
-- A broker's newest report counts when it is fresh, tells of positions and cash (a failed query is
-- not flat) in a way that can be read, and everything it can know is booked here: all events before
-- it are applied, and nothing was booked since five seconds before it.
-- Writes nothing. Internal: sp_reconcile. Test: test_sp_reconcile.py

CREATE OR REPLACE FUNCTION app.sp_reconcile_reports()
RETURNS TABLE (account_id bigint, seen_at timestamptz, report jsonb)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.account_id, b.heartbeat_at, b.heartbeat
    FROM app.bridges AS b
    JOIN app.accounts AS a ON a.account_id = app.sp_source_account(b.source)
    WHERE b.heartbeat_at > clock_timestamp() - interval '150 s'
        AND jsonb_typeof(b.heartbeat -> 'positions') = 'array'
        AND jsonb_typeof(b.heartbeat -> 'cash') = 'array'
        AND NOT EXISTS (
            SELECT
            FROM jsonb_array_elements((b.heartbeat -> 'positions') || (b.heartbeat -> 'cash')) AS e
                (value)
            WHERE coalesce(e.value ->> 'symbol', e.value ->> 'currency') IS NULL
                OR (
                    coalesce(e.value ->> 'quantity', e.value ->> 'amount')
                    ~ '^-?[0-9]{1,18}(\.[0-9]{1,12})?$'
                ) IS NOT TRUE
        )
        AND b.heartbeat ->> 'last_sequence' ~ '^[0-9]{1,18}$'
        AND b.sequence >= (b.heartbeat ->> 'last_sequence')::bigint
        AND NOT EXISTS (
            SELECT FROM app.inbox AS i
            WHERE i.source = b.source AND i.applied_at IS NULL
        )
        AND NOT EXISTS (
            SELECT FROM app.executions AS e
            WHERE e.account_id = a.account_id
                AND e.recorded_at > b.heartbeat_at - interval '5 s'
        )
$$;
