-- sp_admin_notify(user, session, request id, channel, action) -> nothing
-- What an administrator does about anyone's channel: `requeue` lets its dead events go on,
-- `remove` ends it with all that it is owed. Repeating it changes nothing. Audited on stream 0.
-- SQLSTATE IN401, IN403 as sp_authorize_admin; IN404 channel_not_found; IN422 action_invalid,
-- request_id_invalid. Called by app_write. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_admin_notify(
    p_user_id uuid, p_session text, p_request_id text, p_channel_id bigint, p_action text
)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    v_actor text := app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    v_changed integer;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_require_text(p_action, '^(requeue|remove)$', 'action');
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    PERFORM app.sp_authorize_admin(p_user_id, p_session, p_request_id);
    IF NOT EXISTS (
        SELECT FROM app.notify_channels AS c WHERE c.channel_id = p_channel_id
    ) THEN
        RAISE EXCEPTION 'no such channel' USING ERRCODE = 'IN404', DETAIL = 'channel_not_found';
    END IF;
    IF p_action = 'requeue' THEN
        UPDATE app.notify_events AS e
        SET dead_at = NULL
        WHERE e.channel_id = p_channel_id AND e.dead_at IS NOT NULL;
    ELSE
        DELETE FROM app.notify_events AS e WHERE e.channel_id = p_channel_id;
        DELETE FROM app.notify_channels AS c WHERE c.channel_id = p_channel_id;
    END IF;
    GET DIAGNOSTICS v_changed = ROW_COUNT;
    IF v_changed > 0 THEN
        PERFORM app.sp_audit_append(0, v_actor, 'notify.' || p_action, jsonb_build_object(
            'channel_id', p_channel_id, 'request_id', p_request_id
        ));
    END IF;
END
$$;
