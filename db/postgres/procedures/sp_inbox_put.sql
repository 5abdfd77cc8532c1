-- sp_inbox_put(source, deployment, epoch, events, heartbeat) -> highest sequence had without a gap
-- Keeps what a bridge reports, each event once by its id, however often and in whatever pieces it
-- is repeated. Nothing is judged here: an event that cannot be understood is kept as well and found
-- invalid when it is applied, so that it cannot block those behind it.
-- A new epoch or deployment is audited. An epoch that counts from 1 again starts the sequence anew,
-- one that counts on keeps it.
-- SQLSTATE 25001; IN404 source_unknown; IN409 epoch_stale; IN422 source_invalid, deploy_id_invalid,
-- epoch_invalid, events_invalid, heartbeat_invalid. Called by app_write for what comes by webhook,
-- and by sp_inbox_report for what the worker hears itself (`ib:`); neither speaks for the other.
-- Test: test_sp_inbox.py, test_ibkr_worker.py

CREATE OR REPLACE FUNCTION app.sp_inbox_put(
    p_source text, p_deploy_id text, p_epoch bigint, p_events jsonb, p_heartbeat jsonb
)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_account_id bigint;
    v_bridge app.bridges;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_source, '^.{1,100}$', 'source');
    PERFORM app.sp_require_text(p_deploy_id, '^.{1,100}$', 'deploy_id');
    PERFORM app.sp_require_text(p_epoch::text, '^[0-9]{1,18}$', 'epoch');
    IF jsonb_typeof(p_events) IS DISTINCT FROM 'array' OR jsonb_array_length(p_events) > 1000 THEN
        RAISE EXCEPTION 'not a list of at most 1,000 events'
            USING ERRCODE = 'IN422', DETAIL = 'events_invalid';
    END IF;
    IF jsonb_typeof(p_heartbeat) NOT IN ('object', 'null') THEN
        RAISE EXCEPTION 'a heartbeat is an object'
            USING ERRCODE = 'IN422', DETAIL = 'heartbeat_invalid';
    END IF;
    v_account_id := app.sp_source_account(p_source);
    IF v_account_id IS NULL
        OR (p_source LIKE 'ib:%') <> (session_user = 'app_worker')
    THEN
        RAISE EXCEPTION 'no account reports from here'
            USING ERRCODE = 'IN404', DETAIL = 'source_unknown';
    END IF;

    v_bridge := app.sp_bridge_seen(
        v_account_id, p_source, p_deploy_id, p_epoch, p_events, p_heartbeat
    );

    -- One batch may name an event twice. Ids follow the source's own order.
    INSERT INTO app.inbox AS i (source, event_id, shard, epoch, sequence, payload)
    SELECT p_source, e.event_id, e.shard, p_epoch, e.sequence, e.payload
    FROM (
        SELECT DISTINCT ON (p.event_id) p.*
        FROM app.sp_inbox_parse(v_account_id, p_events) AS p
        ORDER BY p.event_id, p.place
    ) AS e
    ORDER BY e.sequence NULLS LAST, e.place
    ON CONFLICT (source, event_id) DO UPDATE
    SET epoch = excluded.epoch, sequence = excluded.sequence
    WHERE i.epoch < excluded.epoch;

    UPDATE app.bridges AS b
    SET sequence = coalesce((
        SELECT max(r.sequence)
        FROM (
            SELECT d.sequence, v_bridge.sequence + row_number() OVER (ORDER BY d.sequence) AS due
            FROM (
                SELECT DISTINCT i.sequence
                FROM app.inbox AS i
                WHERE i.source = p_source
                    AND i.epoch = p_epoch
                    AND i.sequence > v_bridge.sequence
            ) AS d
        ) AS r
        WHERE r.sequence = r.due
    ), v_bridge.sequence)
    WHERE b.source = p_source
    RETURNING b.* INTO v_bridge;
    RETURN v_bridge.sequence;
END
$$;
