-- sp_notify_set(user, session, request id, name, sealed, fingerprint, hint, kinds, accounts,
--               interval, enabled) -> nothing
-- Makes or changes a channel of the caller's own; no sealed address keeps the one there is. The
-- accounts must be such that he may see (null: all of them, whichever they are). Repeating it
-- changes nothing. Audited on stream 0, without a word of the address.
-- SQLSTATE IN401 as sp_authorize; IN404 account_not_found, channel_not_found; IN409 channels_full;
-- IN422 name_invalid, kinds_invalid, interval_invalid, address_missing, request_id_invalid. Called
-- by app_write. Test: test_sp_notify.py

CREATE OR REPLACE FUNCTION app.sp_notify_set(
    p_user_id uuid, p_session text, p_request_id text, p_name text, p_sealed bytea,
    p_fingerprint bytea, p_hint text, p_kinds text [], p_account_ids bigint [],
    p_interval_s integer, p_enabled boolean
)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '3s'
AS $$
DECLARE
    c_channels_max constant integer := 10;
    v_before app.notify_channels;
    v_after app.notify_channels;
BEGIN
    PERFORM app.sp_require_read_committed();
    PERFORM app.sp_authorize(p_user_id, p_session);
    PERFORM app.sp_require_text(p_request_id, '^[A-Za-z0-9_-]{1,64}$', 'request_id');
    PERFORM app.sp_require_text(p_name, '^[A-Za-z0-9_-]{1,40}$', 'name');
    IF (p_interval_s BETWEEN 10 AND 86400) IS NOT TRUE THEN
        RAISE EXCEPTION 'an interval is 10 to 86400 seconds'
            USING ERRCODE = 'IN422', DETAIL = 'interval_invalid';
    END IF;
    IF (p_kinds <@ ARRAY['fill', 'reject', 'break', 'halt', 'lost']) IS NOT TRUE THEN
        RAISE EXCEPTION 'there is no such kind' USING ERRCODE = 'IN422', DETAIL = 'kinds_invalid';
    END IF;
    PERFORM FROM app.streams AS s WHERE s.stream_id = 0 FOR NO KEY UPDATE;
    PERFORM app.sp_authorize(p_user_id, p_session);
    IF EXISTS (
        SELECT FROM unnest(p_account_ids) AS a (account_id)
        WHERE a.account_id IS NULL
            OR NOT app.sp_notify_may(p_user_id, a.account_id)
            OR NOT EXISTS (SELECT FROM app.accounts AS x WHERE x.account_id = a.account_id)
    ) THEN
        RAISE EXCEPTION 'no such account' USING ERRCODE = 'IN404', DETAIL = 'account_not_found';
    END IF;
    SELECT c.* INTO v_before FROM app.notify_channels AS c
    WHERE (c.user_id, c.name) = (p_user_id, p_name);
    IF v_before.channel_id IS NULL AND p_sealed IS NULL THEN
        RAISE EXCEPTION 'a new channel needs an address'
            USING ERRCODE = 'IN422', DETAIL = 'address_missing';
    END IF;
    IF v_before.channel_id IS NULL AND c_channels_max <= (
        SELECT count(*) FROM app.notify_channels AS c WHERE c.user_id = p_user_id
    ) THEN
        RAISE EXCEPTION 'there are % channels already', c_channels_max
            USING ERRCODE = 'IN409', DETAIL = 'channels_full';
    END IF;

    INSERT INTO app.notify_channels AS c (
        user_id, name, sealed, fingerprint, hint, kinds, account_ids, interval_s, enabled
    )
    VALUES (
        p_user_id, p_name, coalesce(p_sealed, v_before.sealed),
        coalesce(p_fingerprint, v_before.fingerprint), coalesce(p_hint, v_before.hint),
        ARRAY(SELECT DISTINCT k.kind FROM unnest(p_kinds) AS k (kind) ORDER BY k.kind),
        CASE WHEN p_account_ids IS NOT NULL THEN
            ARRAY(SELECT DISTINCT a.id FROM unnest(p_account_ids) AS a (id) ORDER BY a.id)
        END, p_interval_s, coalesce(p_enabled, TRUE)
    )
    ON CONFLICT (user_id, name) DO UPDATE
    SET sealed = excluded.sealed, fingerprint = excluded.fingerprint, hint = excluded.hint,
        kinds = excluded.kinds, account_ids = excluded.account_ids,
        interval_s = excluded.interval_s, enabled = excluded.enabled,
        failures = 0, last_error = NULL,
        next_at = CASE WHEN c.failures > 0 THEN clock_timestamp() ELSE c.next_at END
    WHERE (c.fingerprint, c.kinds, c.interval_s, c.enabled)
        <> (excluded.fingerprint, excluded.kinds, excluded.interval_s, excluded.enabled)
        OR c.account_ids IS DISTINCT FROM excluded.account_ids
    RETURNING c.* INTO v_after;
    IF FOUND THEN
        PERFORM app.sp_audit_append(
            0, app.sp_actor(p_user_id, p_session), 'notify.set', jsonb_build_object(
                'channel_id', v_after.channel_id, 'name', p_name, 'kinds', v_after.kinds,
                'account_ids', v_after.account_ids, 'interval_s', p_interval_s,
                'enabled', v_after.enabled, 'request_id', p_request_id,
                'address_changed', v_before.fingerprint IS DISTINCT FROM v_after.fingerprint
            )
        );
    END IF;
END
$$;
