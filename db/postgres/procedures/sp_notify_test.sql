-- sp_notify_test(user, session, request id, name) -> nothing
-- Owes a test message to a channel of the caller's own, enabled or not, one at a time; it goes when
-- the channel's next message may. Audited on stream 0.
-- SQLSTATE IN401 as sp_authorize; IN404 channel_not_found; IN422 request_id_invalid. Called by
-- app_write. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify_test(
    p_user_id uuid, p_session text, p_request_id text, p_name text
)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_channel_id bigint;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_authorize(p_user_id, p_session);
    PERFORM app.sp_require_text(p_request_id, '^[A-Za-z0-9_-]{1,64}$', 'request_id');
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    PERFORM app.sp_authorize(p_user_id, p_session);
    SELECT c.channel_id INTO v_channel_id FROM app.notify_channels AS c
    WHERE (c.user_id, c.name) = (p_user_id, p_name);
    IF v_channel_id IS NULL THEN
        RAISE EXCEPTION 'no such channel' USING ERRCODE = 'IN404', DETAIL = 'channel_not_found';
    ELSIF EXISTS (
        SELECT FROM app.notify_events AS e
        WHERE e.channel_id = v_channel_id AND e.kind = 'test' AND e.dead_at IS NULL
    ) THEN
        RETURN;
    END IF;
    INSERT INTO app.notify_events (channel_id, kind, detail) VALUES (v_channel_id, 'test', '{}');
    PERFORM app.sp_audit_append(
        0, app.sp_actor(p_user_id, p_session), 'notify.test', jsonb_build_object(
            'channel_id', v_channel_id, 'name', p_name, 'request_id', p_request_id
        )
    );
END
$$;
