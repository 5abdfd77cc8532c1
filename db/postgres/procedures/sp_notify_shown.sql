-- sp_notify_shown(channel) -> what may be shown of it
-- Internal: sp_notify_list, sp_admin_list. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify_shown(p_channel app.notify_channels)
RETURNS jsonb
LANGUAGE sql
STABLE
AS $$
    SELECT to_jsonb(p_channel) - 'sealed' - 'fingerprint' - 'next_at' || jsonb_build_object(
        'pending', count(*) FILTER (WHERE e.dead_at IS NULL),
        'dead', count(*) FILTER (WHERE e.dead_at IS NOT NULL)
    )
    FROM app.notify_events AS e
    WHERE e.channel_id = p_channel.channel_id
$$;
