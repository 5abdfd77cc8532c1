-- sp_notify_finish(channel, events, error) -> sent, retry or dead
-- Records how a delivery ended. Sent: its events are done, the next message goes after the
-- interval. With an error it is tried again after 10, 20, 40 s and so on; after the eighth failure
-- its events are dead, which is audited on stream 0, and the channel begins anew.
-- SQLSTATE 25001. Called by app_worker. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify_finish(
    p_channel_id bigint, p_notify_ids bigint [], p_error text
)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_failures_max constant integer := 8;
    v_failures integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    IF p_error IS NULL THEN
        DELETE FROM app.notify_events AS e
        WHERE e.channel_id = p_channel_id AND e.notify_id = ANY (p_notify_ids);
        UPDATE app.notify_channels AS c
        SET failures = 0, last_error = NULL, sent_at = clock_timestamp(),
            next_at = clock_timestamp() + c.interval_s * interval '1 s'
        WHERE c.channel_id = p_channel_id;
        RETURN 'sent';
    END IF;
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    UPDATE app.notify_channels AS c
    SET failures = (c.failures + 1) % c_failures_max, last_error = left(p_error, 100),
        next_at = clock_timestamp()
        + least(10 * 2 ^ c.failures, 3600) * (0.75 + random() / 2) * interval '1 s'
    WHERE c.channel_id = p_channel_id
    RETURNING c.failures INTO v_failures;
    IF v_failures IS DISTINCT FROM 0 THEN
        RETURN 'retry';
    END IF;
    UPDATE app.notify_events AS e
    SET dead_at = clock_timestamp()
    WHERE e.channel_id = p_channel_id AND e.notify_id = ANY (p_notify_ids);
    PERFORM app.sp_audit_append(0, 'system:notifier', 'notify.dead', jsonb_build_object(
        'channel_id', p_channel_id, 'events', cardinality(p_notify_ids), 'error', left(p_error, 100)
    ));
    RETURN 'dead';
END
$$;
